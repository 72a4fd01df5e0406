"""Linux calls that Python 3.11 lacks: `prctl` and timers on CLOCK_BOOTTIME."""

from __future__ import annotations

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLOCK_BOOTTIME = 7
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send us `signal_number` when our parent ends; the caller checks that it has not yet. Raises `OSError`."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none escapes a walk of the tree. Raises `OSError`."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        _fail("prctl")


def _fail(call: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")


class BootTimer:
    """A descriptor that becomes readable at an instant of CLOCK_BOOTTIME: at once after a suspend that lasted beyond it."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(_CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            _fail("timerfd_create")

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._fd

    def arm(self, at_s: float | None) -> None:
        """Become readable at `at_s`, seconds since boot, or at once where that is past; None is never. Undoes a firing."""
        at_ns = 0 if at_s is None else max(1, int(at_s * 1e9))
        spec = (ctypes.c_long * 4)(0, 0, at_ns // 1_000_000_000, at_ns % 1_000_000_000)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, spec, None) != 0:
            _fail("timerfd_settime")
