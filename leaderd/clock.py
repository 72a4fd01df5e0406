"""The clock: the only file that may read one.

Deadlines live on CLOCK_BOOTTIME, which counts the time a machine is suspended (CLOCK_MONOTONIC and asyncio's timers do not).
What neither counts is time in which the whole kernel was stopped: a VM paused, snapshot, migrated. Then the wall clock, once
corrected by the host, runs away from the boot clock; `BootClock` notices the divergence on every single reading.

Slewing is no divergence: an NTP client that changes the rate changes that of both clocks (Linux, kernel/time/timekeeping.c: the
wall clock is the monotonic one plus an offset that only steps change). How far the rates of two hosts may differ is
`timing.clock_drift`.
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


FORGOTTEN = 0.001
"""How fast steps of the wall clock are forgotten, in seconds per second: harmless ones of days do not add up to a jump."""

LEAST_LIMIT_S = 0.02
"""A step of the wall clock below this is never a jump: there is always a little noise between two clocks."""
_TOGETHER_S = 0.001
_TRIES = 3


def jump_limit_s(margin_s: float, ttl_s: float) -> float:
    """How far the two clocks may move apart: what goes unnoticed during a lease has to fit into `timing.margin`."""
    return max(margin_s - FORGOTTEN * ttl_s, LEAST_LIMIT_S)


class Divergence:
    """Whether the wall clock has moved against the boot clock, by steps that may each be small. Pure; times are handed in.

    What counts is the range of the offsets seen lately, not the last step: a machine that is stopped ten times for less than the
    limit has lost ten times as much. So what goes unnoticed in a lease is never more than the limit and `FORGOTTEN` of its length.
    """

    def __init__(self, limit_s: float, boot_s: float, offset_s: float) -> None:
        self._limit_s = limit_s
        self._at_s = boot_s
        self._last_s = self._low_s = self._high_s = offset_s

    def moved_by_s(self, boot_s: float, offset_s: float) -> float:
        """By how much the offset, as read now, is away from one seen lately; 0 while that is within the limit. Told once."""
        faded_s = FORGOTTEN * max(boot_s - self._at_s, 0.0)
        self._at_s = boot_s
        # Forgotten is what was before the last reading, and never more than up to what that one showed.
        # Safety: see test_small_pauses_not_added_up
        self._low_s = min(self._low_s + faded_s, self._last_s, offset_s)
        self._high_s = max(self._high_s - faded_s, self._last_s, offset_s)
        self._last_s = offset_s
        if self._high_s - self._low_s <= self._limit_s:
            return 0.0
        by_s = offset_s - (self._low_s if offset_s == self._high_s else self._high_s)
        self._low_s = self._high_s = offset_s
        return by_s


class BootClock:
    """CLOCK_BOOTTIME, never going back, with an eye on the wall clock."""

    def __init__(self, jump_limit_s: float) -> None:
        self._divergence = Divergence(jump_limit_s, *_read_both())
        self.jumps = 0
        self.last_jump_s = 0.0

    def now_s(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def instant(self) -> Instant:
        """Read both clocks; a divergence above the limit is counted as a jump."""
        boot_s, offset_s = _read_both()
        by_s = self._divergence.moved_by_s(boot_s, offset_s)
        if by_s:
            self.jumps += 1
            self.last_jump_s = by_s
        return Instant(boot_s, self.jumps)

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def _read_both() -> tuple[float, float]:
    """The boot clock, and how far the wall clock is ahead of it. Read again if we were stopped between: no divergence."""
    tries = _TRIES
    while True:
        before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        wall_s = time.time()
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        tries -= 1
        if boot_s - before_s < _TOGETHER_S or not tries:
            return boot_s, wall_s - boot_s
