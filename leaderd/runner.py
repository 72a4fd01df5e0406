"""The one loop: event -> core -> board -> store. One queue, one writer, one timer; nothing here awaits.

The order inside a step is I8: the new snapshot is on the board (so every answer is already right), and hooks are called, before a
command leaves for the store. An exception anywhere in a step first takes every term off the board, then reaches the daemon, which
exits (I11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.election.core import Core
from leaderd.election.events import ClockJumped, Event, Renewed, RenewFailed
from leaderd.election.problems import Reason
from leaderd.election.state import Snapshot, State
from leaderd.stores.base import Store


class Observer(Protocol):
    """Somebody who wants to know: the log, the metrics. Must neither block nor raise."""

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """A new snapshot replaced the old one."""

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """A renewal was answered after `duration_s`; `margin_s` was left of the old validity, None when it failed."""


class Runner:
    """Feeds the core and carries out what it says. `arm(at_s)` must call `wake()` at or after that boot-clock instant."""

    def __init__(
        self,
        core: Core,
        store: Store,
        board: Board,
        clock: Clock,
        arm: Callable[[float], None],
        on_crash: Callable[[BaseException], None],
        observers: tuple[Observer, ...] = (),
        heralds: tuple[Observer, ...] = (),
    ) -> None:
        self._core = core
        self._store = store
        self._board = board
        self._clock = clock
        self._arm = arm
        self._on_crash = on_crash
        self._observers = observers
        self._heralds = heralds
        """Who is told before a command leaves for the store (I8): hooks."""
        self._queue: deque[Event] = deque()
        self._busy = False
        self.crashed = False

    def deliver(self, event: Event) -> None:
        """Take an event; apply it now, or after the one being applied. Never raises: an exception ends leadership (I11)."""
        if self.crashed:
            return
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self._apply(self._queue.popleft())
        except Exception as error:  # noqa: BLE001 - whatever it is, leadership ends first
            self.crash(error)
        finally:
            self._busy = False

    def crash(self, error: BaseException) -> None:
        """Something that cannot be happened: take every term off the board, then tell the daemon, which exits."""
        if self.crashed:
            return
        self.crashed = True
        self._queue.clear()
        with suppress(Exception):  # a subscriber's, perhaps the same one's again; the snapshot is up
            # Safety: see test_unexpected_exception_ends_leadership_first
            self._board.publish(_without_terms(self._board.snapshot))
        self._on_crash(error)

    def _apply(self, event: Event) -> None:
        # No await in here, nor in anything called from here: asyncio cannot interleave another step.
        instant = self._clock.instant()
        if instant.jumps > self._core.jumps:
            self._step(ClockJumped(instant.jumps), instant.boot_s)
        self._step(event, instant.boot_s)

    def _step(self, event: Event, now_s: float) -> None:
        old = self._board.snapshot
        self._core.wall_ahead_s = self._clock.wall_s() - now_s
        commands = self._core.handle(event, now_s)
        new = self._core.snapshot(now_s)
        self._board.publish(new)
        for herald in self._heralds:
            herald.published(old, new, now_s)
        for command in commands:
            self._store.submit(command)
        for observer in self._observers:
            observer.published(old, new, now_s)
        if isinstance(event, Renewed | RenewFailed):
            self._tell_renewal(event, old, now_s)
        self._arm(self._core.next_deadline_s(now_s))

    def _tell_renewal(self, event: Renewed | RenewFailed, old: Snapshot, now_s: float) -> None:
        duration_s = now_s - event.sent_at_s
        left = [view.term.valid_until_s - now_s for view in old.elections.values() if view.term is not None]
        margin_s = min(left) if left and isinstance(event, Renewed) else None
        for observer in self._observers:
            observer.renewed(duration_s, margin_s)


def _without_terms(snapshot: Snapshot) -> Snapshot:
    elections = {
        name: replace(view, term=None, resting=State.UNKNOWN, reason=Reason.INTERNAL_ERROR, index=view.index + 1)
        for name, view in snapshot.elections.items()
    }
    return replace(snapshot, elections=elections, session_live=False, connected=False)
