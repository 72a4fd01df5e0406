"""For the tests of apps: a leader moved by hand.

::

    from leaderd.testing import FakeLeader

    leader = FakeLeader("billing")
    leader.acquire()
    with leader.guard() as term:
        leader.lose(finish_within_s=5.0)
        assert term.ending and not leader.is_leader()

As a pytest fixture `fake_leader`: `pytest_plugins = ["leaderd.integrations.pytest_plugin"]` in `conftest.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import CLOCK_BOOTTIME, clock_gettime_ns

from leaderd.client import Leader, NotLeader, Term
from leaderd.client.hold import HeldTerm
from leaderd.client.term import seconds
from leaderd.client.watch import Change, Watcher, no_line


class FakeLeader(Leader):
    """A `Leader` that asks nobody. It starts as a follower; tokens rise with every term, as they do in earnest."""

    def __init__(self, name: str | None = "test") -> None:
        super().__init__(name)
        self.disabled = ""
        self._term: Term | None = None
        self._last_token = 0
        self._held: list[FakeHolding] = []
        self._changed = threading.Condition()

    def acquire(self, valid_for_s: float = 3600.0) -> Term:
        """Begin a new term that is valid for so long, and return it."""
        if self._term is not None:
            self.lose()
        with self._changed:
            self._last_token += 1
            self._term = Term(self._last_token, _now_ns() + int(valid_for_s * 1e9))
            self._changed.notify_all()
            return self._term

    def lose(self, finish_within_s: float = 0.0) -> None:
        """End the term; guards and holds have so long to finish. The default is a promise that is over, too."""
        with self._changed:
            self._term = None
            self._changed.notify_all()
        for holding in tuple(self._held):
            holding.end(finish_within_s)

    @property
    def held(self) -> int:
        """How many guards and holds are open: what a hand-over would wait for."""
        return len(self._held)

    def look(self) -> Term | None:
        """The term, while it is valid."""
        term = self._term
        return term if term is not None and term.valid_for_s > 0 else None

    def require(self, promise: str | float | None = None, *, token: int | None = None) -> Term:
        """The term; the `promise` must fit into it. Raises `NotLeader`."""
        term = self.look()
        if term is None:
            raise NotLeader(f"not the leader of {self.name}: another_leads", "another_leads")
        if token is not None and token != term.token:
            raise NotLeader(f"not the leader of {self.name}: other_term", "other_term")
        if promise is not None and term.valid_for_s < seconds(promise):
            raise NotLeader(f"not the leader of {self.name}: min_valid_unmet", "min_valid_unmet")
        return term

    def open_hold(self, promise: str | float | None, min_valid: str | float | None, on_ending: Callable[[], None]) -> FakeHolding:
        """Hold the term, until `lose`."""
        holding = FakeHolding(self._held, HeldTerm(*self.require(min_valid)), on_ending)
        self._held.append(holding)
        return holding

    def open_watch(self) -> Watcher:
        """Watch what is done by hand."""
        return _FakeWatcher(self, self._changed)


class FakeHolding:
    """A held term, moved by hand."""

    def __init__(self, place: list[FakeHolding], term: HeldTerm, on_ending: Callable[[], None]) -> None:
        self._place = place
        self._on_ending = on_ending
        self.term = term

    def end(self, finish_within_s: float) -> None:
        """Leadership is being given up."""
        self.term.valid_until_ns = min(self.term.valid_until_ns, _now_ns() + int(finish_within_s * 1e9))
        self.term.end("draining")
        self._on_ending()

    def close(self) -> None:
        """The work is done."""
        if self in self._place:
            self._place.remove(self)


class _FakeWatcher(Watcher):
    def __init__(self, leader: FakeLeader, changed: threading.Condition) -> None:
        super().__init__(no_line)
        self._leader = leader
        self._changed = changed
        self._ended = False

    def changes(self) -> Iterator[Change]:
        last = None
        while not self._ended:
            term = self._leader.look()
            found = Change(term is not None, None if term is None else term.token)
            if found != last:
                last = found
                yield found
                continue
            with self._changed:
                if self._leader.look() == term and not self._ended:
                    self._changed.wait(None if term is None else term.valid_for_s)

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _now_ns() -> int:
    return clock_gettime_ns(CLOCK_BOOTTIME)
