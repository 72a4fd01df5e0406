"""What an operator may ask of a running daemon: one place for the rules, whichever surface the wish came through.

HTTP, gRPC and the command line only translate: they call these methods on the event loop, and turn `ActionRefused` into a status.
An action goes to the core as an event, like everything else; its outcome is read off the board, like everything else. A caller
who goes away does not undo it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.election.events import Event, ResignRequested, StandRequested
from leaderd.election.history import TermRecord
from leaderd.election.pause import Pause
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot
from leaderd.journal import Journal, Why

RELEASE_WAIT_S = 5.0
"""How much longer than the last promise `resign` waits for the store to confirm that the entry is out."""


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

    def __init__(self, deliver: Callable[[Event], None], board: Board, clock: Clock, journal: Journal) -> None:
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
        self._leading(name, if_token)
        raise ActionRefused(Refusal.NOT_SUPPORTED, "this store keeps no records: resign instead")

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
        raise ActionRefused(Refusal.NOT_SUPPORTED, "this store keeps no records")

    async def resume(self, name: str) -> Pause | None:
        """End the pause; returns what it was, or None if there was none. Refused as `pause`."""
        self._view(name)
        raise ActionRefused(Refusal.NOT_SUPPORTED, "this store keeps no records")

    # ---- looking back

    def history(self, name: str) -> tuple[TermRecord, ...]:
        """The last 100 terms, newest first, as the store has them. Refused: UNKNOWN_ELECTION."""
        self._view(name)
        return ()

    def why(self, name: str) -> Why:
        """Why the election is, or is not, led from here. Refused: UNKNOWN_ELECTION."""
        self._view(name)
        return self._journal.why(name, self._board.snapshot, self._clock.now_s())

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
