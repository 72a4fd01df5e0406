"""Observers hear of a step right after it, not within it: what leaves for the store leaves first.

Writing a log line costs 0.3 to 0.5 ms in a process that has just woken up, and a driver's request leaves only when the loop has
control again, or even two turns later (grpc.aio), or from a thread that waits for the interpreter until the loop is idle (kazoo).
On a hand-over that would be paid twice, by who leaves before its release and by who follows before its claim.

Who follows is told of in the loop's next turn. Who lets go leaves the processor to those who follow for a moment; who asks in the
meantime hears it all (`flush`). What is told late bears the time of the step, so that the log lines of two daemons, put side by
side, are in the order in which things happened.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from leaderd.clock import Clock
from leaderd.election.state import Snapshot
from leaderd.runner import Observer

SETTLE_S = 0.01
"""For how long after a term was given up nothing is told: a hand-over is over by then, or waits for something else."""


class Afterwards:
    """An observer that passes everything on, in order, later. What fails there goes to `on_crash` (I11)."""

    def __init__(self, clock: Clock, on_crash: Callable[[BaseException], None]) -> None:
        self.observers: tuple[Observer, ...] = ()
        self._clock = clock
        self._on_crash = on_crash
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._not_before_s = 0.0
        self._telling_of_s: float | None = None

    def wall_s(self) -> float:
        """Seconds since the epoch: of what is being told at the moment, or else now."""
        return self._clock.wall_s() if self._telling_of_s is None else self._telling_of_s

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """A new snapshot replaced the old one."""
        if _let_go(old, new):
            self._not_before_s = asyncio.get_running_loop().time() + SETTLE_S
        for observer in self.observers:
            self.tell(partial(observer.published, old, new, now_s))

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """A renewal was answered, or failed."""
        for observer in self.observers:
            self.tell(partial(observer.renewed, duration_s, margin_s))

    def tell(self, call: Callable[[], None]) -> None:
        """Make this call after what has been told so far."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            if self._not_before_s > loop.time():
                loop.call_at(self._not_before_s, self.flush)
            else:
                loop.call_soon(self.flush)
        self._waiting.append((self._clock.wall_s(), call))

    def flush(self) -> None:
        """Tell now what waits to be told."""
        while self._waiting:
            self._telling_of_s, call = self._waiting.popleft()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - as in the runner: whatever it is, leadership ends first
                self._on_crash(error)
            finally:
                self._telling_of_s = None


def _let_go(old: Snapshot, new: Snapshot) -> bool:
    """Whether a term was given up, so that somebody may be about to follow."""
    return any(view.term is not None and new.elections[name].term is None for name, view in old.elections.items())
