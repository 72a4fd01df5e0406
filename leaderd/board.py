"""The board: one writer puts up one immutable snapshot; readers compare its deadlines with the clock when they answer.

Nothing here awaits. A surface takes the time and asks `answer` in one go, and must not await between that and sending its reply's
first byte to the transport: a yes is a promise (I10), entered in the ledger at the instant it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaderd.clock import Instant
from leaderd.election.ledger import Held, Ledger
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State

Enter = Callable[[float, float, float], float]
"""Enters a promise: now, for how long, cut off when; returns until when it holds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to "may I act?", at one instant. Instants are seconds since boot.

    `promised_until_s` is until when a yes holds, whatever happens; `lease_until_s` only informs. Both are None with a no.
    """

    view: ElectionView
    leader: bool
    state: State
    reason: Reason
    now_s: float
    token: int | None = None
    promised_until_s: float | None = None
    lease_until_s: float | None = None


class Hold:
    """A promise that is kept open for one holder, and given back when it has finished (I10). Of one term: it never spans two."""

    def __init__(self, board: Board, name: str, held: Held, token: int, promise_s: float) -> None:
        self._board = board
        self._held = held
        self._released = False
        self.name = name
        self.token = token
        self.promise_s = promise_s

    @property
    def until_s(self) -> float:
        """Until when the holder may go on, whatever happens, as told last; seconds since boot."""
        return self._held.until_s

    def extend(self, instant: Instant) -> Answer:
        """Promise another `promise_s` from `instant`, read just before. A no leaves what was promised until `until_s` as it is:
        the holder has until then to finish. That is so, too, while leadership is being given up."""
        if self._released:
            raise RuntimeError("this hold has been given back")
        return self._board._judge(self.name, instant, self._held.promise, self.promise_s, 0.0, self.token)

    def release(self) -> None:
        """Give the promise back: a release of leadership that waits for it may go on. Again is no error."""
        if not self._released:
            self._released = True
            self._board._give_back(self.name, self._held)

    def lose(self) -> None:
        """The holder is out of reach, and has not said that it has finished: its promise runs out by itself."""
        if not self._released:
            self._released = True
            self._board._ledgers[self.name].lose(self._held)


class Board:
    """The one place between the runner, who writes, and the surfaces, who read."""

    def __init__(self, snapshot: Snapshot, ledgers: dict[str, Ledger], promise_s: float) -> None:
        self.snapshot = snapshot
        self.promise_s = promise_s
        self._ledgers = ledgers
        self._subscribers: set[Callable[[], None]] = set()
        self.on_jump: Callable[[], None] = lambda: None
        """Called when an answer notices a clock jump before the runner has; must neither block nor raise."""
        self.on_given_back: Callable[[], None] = lambda: None
        """Called when a hold has been given back that a release may be waiting for; must neither block nor raise."""

    def publish(self, snapshot: Snapshot) -> None:
        """Put up a new snapshot and wake the subscribers. Only the runner may. What one of them raises is raised when all are
        awake: nobody is left in the dark by another's failure."""
        self.snapshot = snapshot
        failure: Exception | None = None
        for wake in tuple(self._subscribers):
            try:
                wake()
            except Exception as error:  # noqa: BLE001 - the runner ends leadership by it
                failure = failure or error
        if failure is not None:
            raise failure

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, which must neither block nor raise, at each publication; returns the way to stop it. Latest wins."""
        self._subscribers.add(wake)
        return lambda: self._subscribers.discard(wake)

    def promised_until_s(self, name: str) -> float:
        """The latest instant until which anything is promised in an election; minus infinity if nothing is."""
        return self._ledgers[name].until_s

    def answer(
        self,
        name: str,
        instant: Instant,
        *,
        promise_s: float | None = None,
        min_valid_s: float = 0.0,
        token: int | None = None,
    ) -> Answer:
        """Answer for election `name` at `instant`, read just before; raises `KeyError` for an unknown election.

        `promise_s`: how long a yes shall hold (default `timing.promise`; 0 is a mere look). A yes is given only while the lease
        has `min_valid_s` left, and only in the term `token` if one is named.
        """
        return self._judge(name, instant, self._ledgers[name].promise, promise_s, min_valid_s, token)

    def hold(
        self,
        name: str,
        instant: Instant,
        *,
        promise_s: float | None = None,
        min_valid_s: float = 0.0,
        token: int | None = None,
    ) -> tuple[Answer, Hold | None]:
        """Answer as `answer` does; with a yes comes a hold: release it when the holder has finished, lose it when they are gone."""
        ledger, held = self._ledgers[name], Held()
        answer = self._judge(name, instant, held.promise, promise_s, min_valid_s, token)
        if not answer.leader or answer.token is None:
            return answer, None
        ledger.open(held)
        return answer, Hold(self, name, held, answer.token, self.promise_s if promise_s is None else promise_s)

    def _give_back(self, name: str, held: Held) -> None:
        self._ledgers[name].give_back(held)
        if self.snapshot.elections[name].phase is Phase.RELEASING:  # else nobody waits for it, and there may be thousands a second
            self.on_given_back()

    def _judge(
        self, name: str, instant: Instant, enter: Enter, promise_s: float | None, min_valid_s: float, token: int | None
    ) -> Answer:
        view = self.snapshot.elections[name]
        now_s = instant.boot_s
        state = view.state_at(now_s)
        term = view.term
        # Safety: see test_flag_instead_of_deadline. The deadline is compared here, at the instant of the answer.
        if term is None or not term.held(now_s):
            return Answer(view, False, state, Reason.LEASE_EXPIRED if term and not term.doubted else view.reason, now_s)
        if instant.jumps != self.snapshot.jumps:
            # The clock jumped and the core has not been told yet: its deadlines cannot be compared with this reading.
            self.on_jump()
            return Answer(view, False, State.UNKNOWN, Reason.CLOCK_JUMPED, now_s)
        if token is not None and token != term.token:
            return Answer(view, False, state, Reason.OTHER_TERM, now_s)
        if term.valid_until_s - now_s < min_valid_s:
            return Answer(view, False, state, Reason.MIN_VALID_UNMET, now_s)
        wanted_s = self.promise_s if promise_s is None else promise_s
        until_s = enter(now_s, wanted_s, term.valid_until_s)
        return Answer(view, True, state, view.reason, now_s, term.token, until_s, term.valid_until_s)
