"""What can be seen of a candidate: phases with their legal transitions, and the one immutable snapshot all surfaces render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from leaderd.election.events import Contender
from leaderd.election.pause import Pause
from leaderd.election.problems import Problem, Reason
from leaderd.election.records import Record, Settled
from leaderd.election.transfer import Transfer


class Phase(StrEnum):
    """Where one candidate stands in one election."""

    OUT = "out"
    """No entry of ours is in the election, and none is on its way."""
    STANDING = "standing"
    """Asked to stand; not yet confirmed."""
    QUEUED = "queued"
    """Our entry is in the queue, behind others."""
    CLAIMING = "claiming"
    """Our entry is first; proof at a quorum is on its way."""
    LEADING = "leading"
    """A term is held, until its deadline."""
    RELEASING = "releasing"
    """The answer is no already; our entry stays until every promise has lapsed."""
    WITHDRAWING = "withdrawing"
    """Taking our entry out; not yet confirmed."""


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.OUT: frozenset({Phase.STANDING}),
    Phase.STANDING: frozenset({Phase.QUEUED, Phase.CLAIMING, Phase.WITHDRAWING, Phase.OUT}),
    Phase.QUEUED: frozenset({Phase.CLAIMING, Phase.WITHDRAWING, Phase.OUT}),
    Phase.CLAIMING: frozenset({Phase.CLAIMING, Phase.LEADING, Phase.WITHDRAWING, Phase.OUT}),
    Phase.LEADING: frozenset({Phase.RELEASING, Phase.WITHDRAWING, Phase.OUT}),
    Phase.RELEASING: frozenset({Phase.WITHDRAWING, Phase.OUT}),
    Phase.WITHDRAWING: frozenset({Phase.OUT}),
}
"""Every legal change of phase. OUT is reached from everywhere: the session can end at any instant."""


class State(StrEnum):
    """What users see as `state`; part of the contract."""

    STARTING = "starting"
    FOLLOWER = "follower"
    LEADER = "leader"
    SUSPENDED = "suspended"
    DRAINING = "draining"
    PAUSED = "paused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Term:
    """One unbroken leadership: its fencing token, when it began, and until when it is held (seconds since boot).

    `doubted`: the clock jumped, and no renewal sent after the jump has been confirmed yet; not held meanwhile.
    """

    token: int
    started_s: float
    valid_until_s: float
    doubted: bool = False

    def held(self, now_s: float) -> bool:
        """Leadership is a deadline, not a flag (I1): to be asked at the instant of each answer."""
        # Safety: see test_flag_instead_of_deadline
        return not self.doubted and now_s < self.valid_until_s


def state_at(now_s: float, term: Term | None, resting: State, *, silent: bool) -> State:
    """The state at `now_s` of who is `resting` while it holds no term. `silent`: the store has not answered the last renewal."""
    if term is not None and term.held(now_s):
        return State.SUSPENDED if silent else State.LEADER
    return State.UNKNOWN if resting is State.LEADER else resting


@dataclass(frozen=True, slots=True)
class ElectionView:
    """One election as this candidate sees it. `state` and `term` are to be read through `state_at` and `Term.held`."""

    name: str
    phase: Phase
    resting: State
    """The state while no term is held."""
    reason: Reason
    detail: str = ""
    term: Term | None = None
    silent: bool = False
    """The store has not answered the last renewal: a leader is `suspended`."""
    leader: str | None = None
    """The leading instance's name as the store last showed it; None when unsure."""
    contenders: tuple[Contender, ...] = ()
    led: bool = False
    index: int = 1
    """Rises with each change of state, token or leader."""
    terms: int = 0
    """Terms led by this process so far."""
    standing: bool = True
    """False while cordoned, cooling down or draining."""
    pause: Pause | None = None
    """The pause in force, as the store has it; None if the election is not paused."""
    transfer: Transfer | None = None
    """The last transfer, under way or not."""
    records: Mapping[str, Record] = field(default_factory=dict)
    """The records beside the election, by kind, as the store showed them last."""
    settled: Mapping[str, Settled] = field(default_factory=dict)
    """What became of our last write, by kind of record."""

    def state_at(self, now_s: float) -> State:
        """The state at `now_s`."""
        return state_at(now_s, self.term, self.resting, silent=self.silent)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the surfaces may know, at one instant; replaced as a whole, never changed."""

    instance: str
    elections: dict[str, ElectionView] = field(default_factory=dict)
    connected: bool = False
    session_live: bool = False
    problem: Problem | None = None
    """The last failure between us and the store, until something works again."""
    session_ttl_s: float | None = None
    last_confirmed_s: float | None = None
    """When the last confirmed renewal was sent."""
    renewal_period_s: float | None = None
    draining: bool = False
    finished: bool = False
    jumps: int = 0
    """Clock jumps the core has taken note of."""
