"""A daemon's clocks, changed from outside: as if its machine's wall clock were set, or its crystal ran at another rate.

leaderd reads clocks in one file only, and there it gets these. Its timers go with them. A library that is loaded before C's own
does not do as well: libfaketime breaks `clock_nanosleep` where it leaves the boot clock alone, and with it Python's own `sleep`.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import selectors
import struct
import time
from pathlib import Path
from typing import NamedTuple

from leaderd import clock

_LAYOUT = struct.Struct("=Q4dQ")
_SEEN = struct.Struct("=Q")


class Skew(NamedTuple):
    """How a clock goes: at `true_s` (CLOCK_BOOTTIME of the machine) it showed `shown_s`, and shows `rate` seconds a second since.

    `wall_s` is how much its wall clock is ahead besides.
    """

    true_s: float = 0.0
    shown_s: float = 0.0
    rate: float = 1.0
    wall_s: float = 0.0

    def shown(self, true_s: float) -> float:
        """What it shows at an instant."""
        return self.shown_s + (true_s - self.true_s) * self.rate

    def true(self, shown_s: float) -> float:
        """The instant at which it shows that, should it go on like this."""
        return self.true_s + (shown_s - self.shown_s) / self.rate


class SkewFile:
    """A skew that one process sets and another obeys at once, by memory that both have."""

    def __init__(self, path: Path) -> None:
        """Make the file, or share it if it is there."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size = _LAYOUT.size + _SEEN.size
            fresh = os.fstat(file).st_size < size
            os.ftruncate(file, size)
            self._memory = mmap.mmap(file, size)
        finally:
            os.close(file)
        self._number = 0
        if fresh:
            self.set(Skew())

    def set(self, skew: Skew) -> None:
        """From now on. One process only."""
        self._number += 1
        _LAYOUT.pack_into(self._memory, 0, self._number, *skew, self._number - 1)
        _LAYOUT.pack_into(self._memory, 0, self._number, *skew, self._number)

    def get(self) -> Skew:
        """How it goes now. What is half written is read again."""
        while True:
            before, *values, after = _LAYOUT.unpack_from(self._memory)
            if before == after:
                return Skew(*values)

    def obeyed(self) -> Skew:
        """The same, for whoever goes by it: leaves a mark that the last change was seen."""
        skew = self.get()
        self._memory[_LAYOUT.size :] = self._memory[: _SEEN.size]
        return skew

    @property
    def seen(self) -> bool:
        """Whether the last change has been seen."""
        return self._memory[_LAYOUT.size :] == self._memory[: _SEEN.size]

    def change(self, *, rate: float | None = None, wall_s: float | None = None) -> None:
        """Go on from what it shows now, at another rate or with another wall clock."""
        now_s, old = boot_s(), self.get()
        new_rate = old.rate if rate is None else rate
        self.set(Skew(now_s, old.shown(now_s), new_rate, old.wall_s if wall_s is None else wall_s))


def boot_s() -> float:
    """The machine's own clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Time:
    """What `leaderd.clock` knows as the module `time`."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self, skew: SkewFile) -> None:
        self._skew = skew

    def clock_gettime(self, which: int) -> float:
        assert which == time.CLOCK_BOOTTIME
        return self._skew.obeyed().shown(boot_s())

    def time(self) -> float:
        skew, now_s = self._skew.get(), boot_s()
        return time.time() + skew.shown(now_s) - now_s + skew.wall_s


def obey(path: Path) -> SkewFile:
    """From now on this process's leaderd reads the clocks of that file, and its timers wait by them."""
    skew = SkewFile(path)
    setattr(clock, "time", _Time(skew))  # noqa: B010 - a name that the module does not mean to give away
    select = selectors.DefaultSelector.select

    def waits(self: selectors.DefaultSelector, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return select(self, timeout if timeout is None or timeout <= 0 else timeout / skew.get().rate)

    selectors.DefaultSelector.select = waits  # type: ignore[method-assign]
    asyncio.BaseEventLoop.time = lambda self: skew.get().shown(boot_s())  # type: ignore[method-assign]
    return skew
