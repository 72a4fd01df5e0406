"""The clock: the only file that may read one.

Deadlines live on CLOCK_BOOTTIME, which counts the time a machine is suspended (CLOCK_MONOTONIC and asyncio's timers do not).
What neither counts is time in which the whole kernel was stopped: a VM paused, snapshot, migrated. Then the wall clock, once
corrected by the host, runs away from the boot clock; `BootClock` notices the divergence on every single reading.
"""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol


class Instant(NamedTuple):
    """One reading: seconds on the boot clock, and how many clock jumps had been noticed by then."""

    boot_s: float
    jumps: int


class Clock(Protocol):
    """Where the shell gets the time; the core gets it as an argument."""

    def now_s(self) -> float:
        """Seconds since boot, suspend included."""

    def instant(self) -> Instant:
        """The same, with the number of jumps; what an answer is compared with."""

    def wall_s(self) -> float:
        """Seconds since the epoch, for humans only: no lease is ever dated by it."""


class BootClock:
    """CLOCK_BOOTTIME, never going back, with an eye on the wall clock."""

    def __init__(self, jump_limit_s: float) -> None:
        self._limit_s = jump_limit_s
        self._offset_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.jumps = 0
        self.last_jump_s = 0.0

    def now_s(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def instant(self) -> Instant:
        """Read both clocks; a divergence above the limit since the last reading is counted as a jump."""
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        offset_s = time.time() - boot_s
        by_s = offset_s - self._offset_s
        # A slow drift (NTP slewing, at most 0.05 %) is followed; only a step counts.
        self._offset_s = offset_s
        if abs(by_s) > self._limit_s:
            self.jumps += 1
            self.last_jump_s = by_s
        return Instant(boot_s, self.jumps)

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()
