"""A dialogue with the core: what happens, when, and what it asks for in return. Whatever it asks beyond the script fails."""

from __future__ import annotations

from leaderd.election.commands import Claim, CloseSession, Command, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import (
    Claimed,
    Elected,
    Event,
    Queued,
    Renewed,
    SessionOpened,
    Started,
    TimeReached,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import ElectionView, State
from leaderd.election.timing import RULES, StoreRule, Timing

DOWN = Problem(Outcome.FAILED, Reason.STORE_UNREACHABLE, "connection refused")
LOST = Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "deadline exceeded")
GONE = Problem(Outcome.FAILED, Reason.SESSION_GONE, "lease not found")
DELETED = Problem(Outcome.FAILED, Reason.ENTRY_GONE, "key deleted")

TIMING = Timing(ttl_s=10.0, renew_every_s=2.0, promise_s=1.0, drift=0.0, margin_s=0.5)
VALID_S = 9.5
"""How long a renewal is good under TIMING on the local store's rule: 10 s less the margin."""


class Playbook:
    """One core under test. `at(t)` sets the clock; `tell(event)` returns the commands it answered with."""

    def __init__(
        self, *elections: str, timing: Timing = TIMING, rule: StoreRule = RULES["local"], seed: int = 7, instance: str = "pod-a"
    ) -> None:
        self.core = Core(CoreConfig(instance, elections or ("jobs",), timing, rule, seed))
        self.now_s = 100.0

    def at(self, now_s: float) -> Playbook:
        """Set the clock to `now_s`."""
        self.now_s = now_s
        return self

    def tell(self, event: Event) -> list[Command]:
        """Hand in an event now."""
        return self.core.handle(event, self.now_s)

    def wake(self) -> list[Command]:
        """Move to the core's next deadline, and say that the time has come."""
        due_s = self.core.next_deadline_s(self.now_s)
        assert due_s < float("inf"), "the core waits for nothing"
        self.now_s = max(self.now_s, due_s)
        return self.tell(TimeReached())

    def view(self, name: str = "jobs") -> ElectionView:
        """What can be seen of an election now."""
        return self.core.snapshot(self.now_s).elections[name]

    def state(self, name: str = "jobs") -> State:
        """The state shown to users now."""
        return self.view(name).state_at(self.now_s)

    def leading(self, name: str = "jobs") -> bool:
        """Whether a term is held now."""
        term = self.view(name).term
        return term is not None and term.held(self.now_s)

    def promise(self, promise_s: float, name: str = "jobs") -> float:
        """Give a yes now, as the board does; returns until when it holds."""
        term = self.view(name).term
        assert term is not None
        return self.core.ledgers[name].promise(self.now_s, promise_s, term.valid_until_s)

    # ---- scenes that many plays begin with

    def opened(self, ttl_s: float = 10.0) -> Playbook:
        """Start, and have the session granted at once; every election stands."""
        names = list(self.core.elections)
        assert self.tell(Started()) == [OpenSession(1, 10.0)]
        assert self.tell(SessionOpened(1, self.now_s, ttl_s)) == [Stand(1, name) for name in names]
        return self

    def led(self, token: int = 5, name: str = "jobs") -> Playbook:
        """Start and win the election with `token`."""
        self.opened()
        epoch = self.core.session.epoch
        assert self.tell(Queued(epoch, name, token)) == []
        assert self.tell(Elected(epoch, name, token, 0)) == [Claim(epoch, name, token, 0)]
        assert self.tell(Claimed(epoch, name, token, self.now_s)) == []
        assert self.leading(name)
        return self

    def renew(self, *, owned: tuple[str, ...] = ("jobs",), lost: tuple[str, ...] = ()) -> list[Command]:
        """Let the next renewal fall due and be confirmed at once."""
        asked = self.wake()
        assert [type(c) for c in asked] == [Renew], asked
        return self.tell(Renewed(self.core.session.epoch, self.now_s, 10.0, frozenset(owned), frozenset(lost)))


__all__ = ["DELETED", "DOWN", "GONE", "LOST", "TIMING", "VALID_S", "Claim", "CloseSession", "Entry", "Playbook", "Withdraw"]
