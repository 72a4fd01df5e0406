"""What an operator may ask of a running daemon: one place for the rules, whichever surface the wish came through.

HTTP, gRPC and the command line only translate: they call these methods on the event loop, and turn `ActionRefused` into a status.
An action goes to the core as an event, like everything else; its outcome is read off the board, like everything else. A caller
who goes away does not undo it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.election.events import Event, ResignRequested, StandRequested, WriteRequested
from leaderd.election.history import TermRecord, read_history
from leaderd.election.pause import Pause, pause_bytes, read_pause
from leaderd.election.problems import Outcome, Reason
from leaderd.election.records import NOTHING, RecordKind
from leaderd.election.state import ElectionView, Phase, Snapshot
from leaderd.election.transfer import Transfer, in_the_way, transfer_bytes
from leaderd.journal import Journal, Why

RELEASE_WAIT_S = 5.0
"""How much longer than the last promise `resign` waits for the store to confirm that the entry is out."""

TRANSFER_GRACE_S = 10.0
"""How long after our release the target of a transfer may take to lead, before the others stand again."""
MAX_REASON_CHARS = 500
RECORD_NEWS_S = 1.0
"""Within what time a record is seen by everybody (rule 12 of `stores/base.py`)."""
_QUEUE_NEWS_S = 1.0
"""How late the leader may hear of a new candidate."""
_WRITE_WAIT_S = 10.0
_CONFLICT_WAIT_S = 2.0
_WRITE_ATTEMPTS = 3


class Refusal(StrEnum):
    """Why an action was refused; nothing has changed then."""

    UNKNOWN_ELECTION = "unknown_election"
    NOT_LEADER = "not_leader"
    """This daemon does not lead the election: ask the one that does."""
    TOKEN_MISMATCH = "token_mismatch"  # noqa: S105 - a fencing token, no secret
    """It leads, but not in the term that `if_token` names."""
    NO_SUCH_CANDIDATE = "no_such_candidate"
    INVALID = "invalid"
    """An argument makes no sense (a reason of ten pages)."""
    CONFLICT = "conflict"
    """The daemon is stopping, or somebody else's action is in the way; the message says what."""
    STORE_UNAVAILABLE = "store_unavailable"
    """The store did not confirm; with "may have happened" in the message if that is not known."""
    NOT_SUPPORTED = "not_supported"
    """The driver of this store keeps no records."""


class ActionRefused(Exception):
    """An action was refused. `str()` is one line for a human."""

    def __init__(self, kind: Refusal, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Resigned:
    """Leadership was given up. `released`: the store has confirmed that the entry is out, so that another may lead."""

    election: str
    token: int
    """Of the term that ended."""
    released: bool
    took_s: float
    """From the last yes to the release, or to the end of our patience."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """Leadership was handed to a named candidate. Not `confirmed`: it was given up for it, but it has not said that it leads."""

    election: str
    token: int
    """Of the term that ended."""
    to: str
    confirmed: bool
    new_token: int | None
    leaderless_s: float | None
    """From our last yes to when we heard that it leads: an upper bound of the time without a leader."""


class Actions:
    """The operator's hands. All methods are to be called on the event loop; all raise `ActionRefused`."""

    def __init__(
        self,
        deliver: Callable[[Event], None],
        board: Board,
        clock: Clock,
        journal: Journal,
        *,
        keeps_records: bool = True,
        shows_queue: bool = True,
    ) -> None:
        self._keeps_records = keeps_records
        self._shows_queue = shows_queue
        self._tickets = itertools.count(1)
        self._writing: dict[tuple[str, RecordKind], asyncio.Lock] = {}
        self._transferring: set[str] = set()
        self._deliver = deliver
        self._board = board
        self._clock = clock
        self._journal = journal

    # ---- leadership

    async def resign(self, name: str, *, cooldown_s: float = 0.0, if_token: int | None = None) -> Resigned:
        """Give leadership up: the answer is no at once, the store is told when the promises have lapsed, which is waited for.

        This candidate stands again after `cooldown_s`. Refused: UNKNOWN_ELECTION, NOT_LEADER, TOKEN_MISMATCH, CONFLICT.
        """
        token = self._leading(name, if_token)
        since_s = self._clock.now_s()
        self._journal.acted(name, "an operator asked it to resign")
        self._deliver(ResignRequested(name, Reason.RESIGNED, cooldown_s))
        within_s = max(0.0, self._board.promised_until_s(name) - since_s) + RELEASE_WAIT_S
        released = await self._until(name, lambda view: view.phase not in {Phase.RELEASING, Phase.WITHDRAWING}, within_s)
        return Resigned(name, token, released, self._clock.now_s() - since_s)

    async def transfer(self, name: str, to: str, *, timeout_s: float, if_token: int | None = None) -> Transferred:
        """Hand leadership to candidate `to`: the others step aside, and when it is next, this one gives up.

        If `to` is not next within `timeout_s`, nothing has changed (CONFLICT, naming who is in the way). Refused as `resign`, and:
        NO_SUCH_CANDIDATE, STORE_UNAVAILABLE, NOT_SUPPORTED.
        """
        _need_one_line("the name of the candidate", to)
        token = self._leading(name, if_token)
        self._need_records()
        if to == self._snapshot().instance:
            raise ActionRefused(Refusal.CONFLICT, f"{to} leads {name} already")
        if self._shows_queue and not await self._until(
            name, lambda view: in_the_way(to, view.contenders) is not None, _QUEUE_NEWS_S
        ):
            contenders = self._view(name).contenders
            others = ", ".join(contender.instance for contender in contenders if not contender.own) or "nobody else"
            raise ActionRefused(Refusal.NO_SUCH_CANDIDATE, f"{to!r} does not stand in {name}; in line: {others}")
        if name in self._transferring:
            raise ActionRefused(Refusal.CONFLICT, f"a transfer of {name} is under way already")
        self._transferring.add(name)
        try:
            return await self._transfer(name, to, token, timeout_s)
        finally:
            self._transferring.discard(name)

    async def _transfer(self, name: str, to: str, token: int, timeout_s: float) -> Transferred:
        view, now_s = self._view(name), self._clock.now_s()
        lease_s = view.term.valid_until_s - now_s if view.term is not None else 0.0
        until_s = self._clock.wall_s() + timeout_s + lease_s + TRANSFER_GRACE_S
        self._journal.acted(name, f"an operator asked for a transfer to {to}")
        order = Transfer(to, token, until_s, asks=not self._shows_queue)
        await self._put(name, RecordKind.TRANSFER, transfer_bytes(order))
        try:
            await (self._until_next if self._shows_queue else self._until_known)(name, order, timeout_s)
        except ActionRefused:
            await self._put(name, RecordKind.TRANSFER, None)
            raise
        return await self._hand_over(name, to, token, until_s)

    async def _until_next(self, name: str, order: Transfer, timeout_s: float) -> None:
        """Wait until the target is next in the queue; refuse if it does not come to that."""
        to = order.to
        await self._until(name, lambda view: _over(view, order) or in_the_way(to, view.contenders) == [], timeout_s)
        self._refuse_over(name, order)
        blockers = in_the_way(to, self._view(name).contenders)
        if blockers != []:
            why = "does not stand any more" if blockers is None else f"is behind {', '.join(blockers)}, who did not step aside"
            raise ActionRefused(Refusal.CONFLICT, f"{to} {why}; leadership stays here")

    async def _until_known(self, name: str, order: Transfer, timeout_s: float) -> None:
        """Without a queue to be seen: wait for the target's own answer, and until everybody has read the order."""
        since_s = self._clock.now_s()

        def answered(view: ElectionView) -> bool:
            return view.transfer is not None and view.transfer.stands and view.transfer.token == order.token

        await self._until(name, lambda view: _over(view, order) or answered(view), max(timeout_s, RECORD_NEWS_S))
        self._refuse_over(name, order)
        if not answered(self._view(name)):
            raise ActionRefused(Refusal.NO_SUCH_CANDIDATE, f"{order.to!r} did not answer: it does not stand in {name}")
        await self._until(name, lambda view: _over(view, order), since_s + RECORD_NEWS_S - self._clock.now_s())
        self._refuse_over(name, order)

    def _refuse_over(self, name: str, order: Transfer) -> None:
        if _over(self._view(name), order) or self._snapshot().draining:
            text = f"the term with token {order.token} ended before {order.to} was next; no transfer took place"
            raise ActionRefused(Refusal.CONFLICT, text)

    async def _hand_over(self, name: str, to: str, token: int, until_s: float) -> Transferred:
        since_s = self._clock.now_s()
        # The record keeps us out, too, until the target leads or the record lapses.
        self._deliver(ResignRequested(name, Reason.RESIGNED, 0.0))
        patience_s = max(0.0, until_s - self._clock.wall_s())
        await self._until(name, lambda view: _taken(view, token) is not None, patience_s)
        new_token = _taken(self._view(name), token)
        if new_token is None:
            return Transferred(name, token, to, confirmed=False, new_token=None, leaderless_s=None)
        leaderless_s = self._clock.now_s() - since_s
        self._journal.acted(name, f"{to} leads with token {new_token}, {leaderless_s:.3f} s after this instance gave up")
        return Transferred(name, token, to, confirmed=True, new_token=new_token, leaderless_s=leaderless_s)

    async def set_candidacy(self, name: str, standing: bool) -> bool:
        """Take this instance out of the election (a leader gives up first), or let it stand again; returns whether that changed
        anything. Kept by this process only: a restarted daemon stands. Refused: UNKNOWN_ELECTION, CONFLICT.
        """
        view = self._view(name)
        self._refuse_draining()
        if view.standing is standing:
            return False
        self._journal.acted(name, "an operator let it stand again" if standing else "an operator took it out of the election")
        self._deliver(StandRequested(name) if standing else ResignRequested(name, Reason.CORDONED, None))
        return True

    # ---- the whole election

    async def pause(self, name: str, *, reason: str = "", by: str = "", expires_in_s: float | None = None) -> Pause:
        """Have nobody lead the election until `resume`, or for `expires_in_s`; kept in the store. `by`: who asks.

        Returns when the store has it. Refused: UNKNOWN_ELECTION, INVALID, CONFLICT, STORE_UNAVAILABLE, NOT_SUPPORTED.
        """
        self._view(name)
        self._need_records()
        if len(reason) > MAX_REASON_CHARS or len(by) > MAX_REASON_CHARS:
            raise ActionRefused(Refusal.INVALID, f"a reason has at most {MAX_REASON_CHARS} characters")
        _need_one_line("the reason", reason)
        if expires_in_s is not None and not 0.0 < expires_in_s < 1e9:
            raise ActionRefused(Refusal.INVALID, "a pause lasts longer than nothing, and not for ever: leave its end out for that")
        expires_at_s = None if expires_in_s is None else self._clock.wall_s() + expires_in_s
        pause = Pause(by, reason, expires_at_s)
        await self._put(name, RecordKind.PAUSE, pause_bytes(pause))
        self._journal.acted(name, "paused " + pause.text() if pause.text() else "paused")
        return pause

    async def resume(self, name: str) -> Pause | None:
        """End the pause; returns what it was, or None if there was none. Refused as `pause`."""
        before = read_pause(self._view(name).records.get(RecordKind.PAUSE, NOTHING))
        self._need_records()
        if not self._snapshot().session_live:
            raise ActionRefused(Refusal.STORE_UNAVAILABLE, "there is no session in the store at the moment: nothing was changed")
        if before is not None:
            await self._put(name, RecordKind.PAUSE, None)
            self._journal.acted(name, "resumed")
        return before

    # ---- looking back

    def history(self, name: str) -> tuple[TermRecord, ...]:
        """The last 100 terms, newest first, as the store has them. Refused: UNKNOWN_ELECTION."""
        return tuple(reversed(read_history(self._view(name).records.get(RecordKind.HISTORY, NOTHING))))

    def why(self, name: str) -> Why:
        """Why the election is, or is not, led from here. Refused: UNKNOWN_ELECTION."""
        self._view(name)
        terms = tuple(reversed(self.history(name)))
        return self._journal.why(name, self._board.snapshot, self._clock.now_s(), terms)

    # ---- inside

    def _view(self, name: str) -> ElectionView:
        view = self._board.snapshot.elections.get(name)
        if view is None:
            known = ", ".join(sorted(self._board.snapshot.elections))
            raise ActionRefused(Refusal.UNKNOWN_ELECTION, f"no election {name!r} here; there are: {known}")
        return view

    def _refuse_draining(self) -> None:
        if self._board.snapshot.draining:
            raise ActionRefused(Refusal.CONFLICT, "this daemon is about to stop")

    def _leading(self, name: str, if_token: int | None) -> int:
        """The token of our term; refuses if there is none, or another."""
        view, now_s = self._view(name), self._clock.now_s()
        self._refuse_draining()
        if view.term is None or not view.term.held(now_s):
            leads = f"{view.leader} does" if view.leader not in {None, self._board.snapshot.instance} else "nobody is known to"
            raise ActionRefused(Refusal.NOT_LEADER, f"{self._board.snapshot.instance} does not lead {name}; {leads}")
        if if_token is not None and view.term.token != if_token:
            raise ActionRefused(Refusal.TOKEN_MISMATCH, f"{name} is led with token {view.term.token}, not {if_token}")
        return view.term.token

    def _need_records(self) -> None:
        if not self._keeps_records:
            raise ActionRefused(Refusal.NOT_SUPPORTED, "the driver of this store keeps no records")

    async def _put(self, name: str, kind: RecordKind, value: bytes | None) -> None:
        """Have a record written, over whatever is there."""
        async with self._writing.setdefault((name, kind), asyncio.Lock()):
            for _ in range(_WRITE_ATTEMPTS):
                seen = self._view(name).records.get(kind, NOTHING)
                if value is None and seen.value is None:
                    return
                ticket = next(self._tickets)
                self._deliver(WriteRequested(name, kind, value, seen.version, ticket))
                await self._until(name, lambda view, ticket=ticket: _settled(view, kind, ticket), _WRITE_WAIT_S)  # type: ignore[misc]
                outcome = self._view(name).settled.get(kind)
                if outcome is None or outcome.ticket != ticket:
                    raise ActionRefused(Refusal.STORE_UNAVAILABLE, "the store did not answer; it may have happened all the same")
                if outcome.done:
                    return
                if outcome.problem is not None:
                    perhaps = "; it may have happened all the same" if outcome.problem.outcome is Outcome.UNKNOWN else ""
                    raise ActionRefused(Refusal.STORE_UNAVAILABLE, outcome.problem.detail + perhaps)
                # Somebody else wrote it: see what, and try again on top of that.
                await self._until(
                    name,
                    lambda view, seen=seen: view.records.get(kind, NOTHING) != seen,  # type: ignore[misc]
                    _CONFLICT_WAIT_S,
                )
        raise ActionRefused(Refusal.CONFLICT, f"others keep changing the {kind} record of {name}: try again")

    async def _until(self, name: str, condition: Callable[[ElectionView], bool], within_s: float) -> bool:
        """Wait for the board to show it; False if it did not within `within_s`."""
        changed = asyncio.Event()
        unsubscribe = self._board.subscribe(changed.set)
        try:
            async with asyncio.timeout(within_s):
                while not condition(self._snapshot().elections[name]):
                    changed.clear()
                    await changed.wait()
            return True
        except TimeoutError:
            return condition(self._snapshot().elections[name])
        finally:
            unsubscribe()

    def _snapshot(self) -> Snapshot:
        return self._board.snapshot


def _need_one_line(what: str, text: str) -> None:
    """It will be shown to people, in terminals and logs: nothing in it may move a cursor."""
    if not text.isprintable():
        raise ActionRefused(Refusal.INVALID, f"{what} is no text on one line")


def _settled(view: ElectionView, kind: RecordKind, ticket: int) -> bool:
    outcome = view.settled.get(kind)
    return outcome is not None and outcome.ticket == ticket


def _over(view: ElectionView, order: Transfer) -> bool:
    """Whether the term that the transfer is to end has ended by itself."""
    return view.term is None or view.term.token != order.token


def _taken(view: ElectionView, token: int) -> int | None:
    """The token with which the target of our transfer leads; None if it has not said so."""
    transfer = view.transfer
    return transfer.taken if transfer is not None and transfer.token == token else None
