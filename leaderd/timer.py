"""The one timer between the core's next deadline and the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from leaderd.clock import Clock


class DeadlineTimer:
    """Calls `wake` at or after a boot-clock instant. Only punctuality depends on it: no answer does, each compares the deadline.

    asyncio counts on CLOCK_MONOTONIC, which stands still in suspend: after a suspend a timer comes late by that long, unless it is
    cut into pieces. `max_wait_s` bounds the lateness.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None], max_wait_s: float) -> None:
        self._clock = clock
        self._wake = wake
        self._max_wait_s = max_wait_s
        self._at_s = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self.worst_late_s = 0.0

    def arm(self, at_s: float) -> None:
        """Wake at `at_s`, and not at what was armed before."""
        # After a freeze the store's answer may come first and arm anew: what was overdue then was late all the same.
        self.worst_late_s = max(self.worst_late_s, self.late_s())
        self._at_s = at_s
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if at_s < math.inf:
            wait_s = min(max(0.0, at_s - self._clock.now_s()), self._max_wait_s)
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._fire)

    def late_s(self) -> float:
        """By how many seconds the armed instant has passed without a wake-up; zero while all is well."""
        return max(0.0, self._clock.now_s() - self._at_s)

    def stop(self) -> None:
        """Wake no more."""
        self.arm(math.inf)

    def _fire(self) -> None:
        self._handle = None
        late_s = self._clock.now_s() - self._at_s
        if late_s < 0.0:
            self.arm(self._at_s)
            return
        self.worst_late_s = max(self.worst_late_s, late_s)
        self._wake()
