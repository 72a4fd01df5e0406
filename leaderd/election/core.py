"""The core: one session and its elections, driven by events, answering with commands.

`handle(event, now_s)` is the only way in. Whatever the event, time is looked at first: a deadline that has passed ends the
session and every term before the event is read, so that a late reply can never revive what is dead (I3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from leaderd.election.backoff import Backoff
from leaderd.election.commands import Command, Entry
from leaderd.election.events import (
    Claimed,
    ClockJumped,
    Connected,
    Disconnected,
    DrainRequested,
    Elected,
    ElectionEvent,
    EntryGone,
    Event,
    Queued,
    QueueSeen,
    RecordEvent,
    RecordRefused,
    RecordSeen,
    RecordWritten,
    ReleaseForced,
    Renewed,
    RenewFailed,
    ResignRequested,
    SessionEvent,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    StandRequested,
    Started,
    TimeReached,
    Withdrawn,
    WriteRequested,
)
from leaderd.election.ledger import Ledger
from leaderd.election.machine import Election
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.session import Session, SessionPhase
from leaderd.election.state import ElectionView, Phase, Snapshot, State, state_at
from leaderd.election.timing import StoreRule, Timing

LINGER_S = 0.05
"""How much longer than its last entry the session of a draining candidate lives. Closing it is a write at the quorum as well, and
would stand in the way of the successor's claim, which was sent when the entry went (measured: 1 to 2 ms of a hand-over's 7).
"""

LAST_WORDS_S = 0.5
"""For how long after that it waits for a record that is being written: why its term ended."""

_PROVEN = (Phase.QUEUED, Phase.CLAIMING, Phase.LEADING, Phase.RELEASING)
"""Where our entry is known to be in the store, so that a renewal asks for it."""


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """What a candidate is: its name, the elections it stands in, its timings, its store's rule, and a seed for jitter."""

    instance: str
    elections: tuple[str, ...]
    timing: Timing
    rule: StoreRule
    seed: int


class Core:
    """One candidate in several elections over one session. Synchronous and pure: same events, same times, same commands."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.session = Session(config.timing, config.rule, Backoff(config.seed))
        self.elections = {name: Election(name, Ledger(), Backoff(config.seed + i + 1)) for i, name in enumerate(config.elections)}
        self.started = False
        self.draining = False
        self.close_at_s = -math.inf
        self.jumps = 0
        self.wall_ahead_s = 0.0
        """How far the wall clock is ahead of the boot clock, for what people date; the runner keeps it up to date. No lease is
        ever dated by it."""
        self._views: dict[str, ElectionView] = {}
        self._gists: dict[str, tuple[int, tuple[State, int | None, str | None]]] = {}
        """What each election was when it was last looked at, and its index then."""

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The promises, by election; the board writes them, the core reads them before each release."""
        return {name: election.ledger for name, election in self.elections.items()}

    @property
    def finished(self) -> bool:
        """Drained: every entry is out of the store, and the session is closed."""
        closed = not self.session.live and not self.session.closing
        return self.draining and closed and all(e.phase is Phase.OUT for e in self.elections.values())

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """Take one event at `now_s` and return what is to be done, in this order."""
        commands = self._pass_deadlines(now_s)
        match event:
            case SessionOpened() | SessionFailed() | Renewed() | RenewFailed() | SessionGone() | Disconnected() | Connected():
                commands += self._on_session(event, now_s)
            case Queued() | Elected() | Claimed() | StandFailed() | EntryGone() | Withdrawn() | QueueSeen():
                commands += self._on_election(event, now_s)
            case RecordSeen() | RecordWritten() | RecordRefused():
                self._on_record(event, now_s)
            case WriteRequested():
                commands += self._on_write_requested(event)
            case Started():
                self.started = True
            case TimeReached():
                pass
            case ClockJumped():
                self.jumps = event.jumps
                self.session.doubt(now_s)
                for election in self.elections.values():
                    election.doubt()
            case ResignRequested():
                stand_at_s = math.inf if event.cooldown_s is None else now_s + event.cooldown_s
                commands += self.elections[event.election].resign(self.session.epoch, event.reason, stand_at_s, now_s)
            case StandRequested():
                if not self.draining:
                    self.elections[event.election].stand_at_s = -math.inf
            case DrainRequested():
                self.draining = True
                for election in self.elections.values():
                    commands += election.resign(self.session.epoch, Reason.DRAINING, math.inf, now_s)
            case ReleaseForced():
                for election in self.elections.values():
                    commands += election.release(self.session.epoch, now_s, forced=True)
                commands += self.session.close()
            case _:
                assert_never(event)
        return commands + self._go_on(now_s)

    def next_deadline_s(self, now_s: float) -> float:
        """The next instant at which `TimeReached` should be handed in; infinity if none."""
        if not self.started or self.finished:
            return math.inf
        live = self.session.live
        session_s = math.inf if self.draining and not live else self.session.next_deadline_s(now_s)
        close_s = self._close_s if self._drained else self._promised_until_s if self.session.closing else math.inf
        return min(session_s, close_s, *(e.next_deadline_s(live, self.wall_ahead_s) for e in self.elections.values()))

    def snapshot(self, now_s: float) -> Snapshot:
        """Everything that can be seen at `now_s`, as one immutable value."""
        session, live = self.session, self.session.live
        silence = session.silence(now_s)
        for election in self.elections.values():
            resting = self._resting(election)
            index = self._index(election, state_at(now_s, election.term, resting, silent=silence is not None))
            self._views[election.name] = election.view(resting, silence, self.config.instance, index)
        return Snapshot(
            instance=self.config.instance,
            elections=dict(self._views),
            connected=live and silence is None,
            session_live=live,
            problem=session.problem,
            session_ttl_s=session.ttl_s if live else None,
            last_confirmed_s=session.confirmed_sent_s,
            renewal_period_s=session.period_s if live else None,
            draining=self.draining,
            finished=self.finished,
            jumps=self.jumps,
        )

    # ---- inside

    @property
    def _drained(self) -> bool:
        return self.draining and self.session.live and all(e.phase is Phase.OUT for e in self.elections.values())

    @property
    def _close_s(self) -> float:
        """When the session of a drained candidate is to be closed."""
        writing = any(election.orders.records.busy for election in self.elections.values())
        return self.close_at_s + (LAST_WORDS_S if writing else 0.0)

    @property
    def _promised_until_s(self) -> float:
        """The latest instant until which anything is promised in any election."""
        return max(election.ledger.until_s for election in self.elections.values())

    def _pass_deadlines(self, now_s: float) -> list[Command]:
        """End what has run out by `now_s`, before anything else is believed."""
        if self.session.expired(now_s):
            self._end_session(Problem(Outcome.UNKNOWN, Reason.LEASE_EXPIRED, self._why_expired()), now_s)
            return []
        commands: list[Command] = []
        for election in self.elections.values():
            # Safety: see test_a_late_reply_revives_no_term
            commands += election.expire(self.session.epoch, now_s)
        return commands

    def _why_expired(self) -> str:
        last = self.session.problem
        return "the store confirmed no renewal before the deadline" + (f"; last: {last.detail}" if last else "")

    def _end_session(self, problem: Problem, now_s: float) -> None:
        others_until_s = self.session.others_until_s(now_s)
        for election in self.elections.values():
            election.session_ended(problem, others_until_s)
        self.session.end(problem, now_s)

    def _on_session(self, event: SessionEvent, now_s: float) -> list[Command]:
        session = self.session
        expected = SessionPhase.OPENING if isinstance(event, SessionOpened | SessionFailed) else SessionPhase.LIVE
        # Safety: see test_no_stale_session_check
        if event.epoch != session.epoch or session.phase is not expected:
            return []
        match event:
            case SessionOpened():
                for election in self.elections.values():
                    election.orders.session_began()
                unfit = session.opened(event, now_s)
                if unfit is not None:
                    self._end_session(unfit, now_s)
            case SessionFailed():
                self._end_session(event.problem, now_s)
            case Renewed():
                return self._on_renewed(event, now_s)
            case RenewFailed():
                session.renew_failed(event, now_s)
            case SessionGone():
                self._end_session(event.problem, now_s)
            case Disconnected():
                session.connected, session.problem = False, event.problem
                if self.config.timing.step_down_on_suspend:
                    return self._suspend(now_s)
            case Connected():
                session.reconnected()
            case _:
                assert_never(event)
        return []

    def _on_renewed(self, event: Renewed, now_s: float) -> list[Command]:
        confirmation = self.session.renewed(event)
        gone = Problem(Outcome.FAILED, Reason.ENTRY_GONE, "the store does not have our entry any more")
        commands: list[Command] = []
        for entry in confirmation.asked:
            election = self.elections[entry.election]
            if election.token != entry.token:
                continue  # it left, or stood anew, while the renewal was under way
            if entry.election in event.owned:
                election.confirmed(entry.token, confirmation.valid_until_s, confirmation.fresh)
            elif entry.election in event.lost:
                commands += election.entry_gone(gone, now_s)
        return commands

    def _suspend(self, now_s: float) -> list[Command]:
        commands: list[Command] = []
        for election in self.elections.values():
            if election.phase is Phase.LEADING:
                commands += election.resign(self.session.epoch, Reason.SUSPENDED, now_s, now_s)
        return commands

    def _on_election(self, event: ElectionEvent, now_s: float) -> list[Command]:
        election = self.elections.get(event.election)
        session = self.session
        if election is None or event.epoch != session.epoch or not session.live:
            return []
        match event:
            case Queued():
                return election.queued(event)
            case Elected():
                return election.elected(session.epoch, event, now_s)
            case Claimed():
                doubted = session.doubted_since_s is not None
                return election.claimed(event, session.valid_until_s, doubted, now_s)
            case StandFailed():
                return election.stand_failed(session.epoch, event, now_s)
            case EntryGone():
                return election.entry_gone(event.problem, now_s)
            case Withdrawn():
                self.close_at_s = now_s + LINGER_S
                return election.withdrawn(event, now_s)
            case QueueSeen():
                election.seen(event)
                return []
            case _:
                assert_never(event)

    def _on_record(self, event: RecordEvent, now_s: float) -> None:
        election = self.elections.get(event.election)
        if election is None or event.epoch != self.session.epoch or not self.session.live:
            return
        match event:
            case RecordSeen():
                election.orders.told(event)
            case RecordWritten():
                election.orders.written(event)
            case RecordRefused():
                election.orders.records.refused(event, now_s)
            case _:
                assert_never(event)

    def _on_write_requested(self, event: WriteRequested) -> list[Command]:
        records = self.elections[event.election].orders.records
        if not self.session.live:
            records.unreachable(event.kind, event.ticket)
            return []
        return [*records.write(self.session.epoch, event.kind, event.value, event.version, event.ticket)]

    def _go_on(self, now_s: float) -> list[Command]:
        """What is due by itself: open, stand, withdraw, renew; and close when drained."""
        session = self.session
        commands: list[Command] = []
        if not self.started:
            return commands
        if self.draining and session.phase is SessionPhase.OPENING:
            session.end(None, now_s)
        if not session.live:
            commands += self._close(now_s)
            return commands if self.draining else commands + session.open(now_s)
        wall_s = now_s + self.wall_ahead_s
        for election in self.elections.values():
            commands += election.obey(session.epoch, now_s, wall_s, self.config.instance)
            commands += election.release(session.epoch, now_s)
            commands += election.withdraw_again(session.epoch, now_s)
            commands += election.stand(session.epoch, now_s)
            commands += election.tidy(session.epoch, now_s, wall_s, self.config.instance)
        if self._drained and now_s >= self._close_s:
            session.end(None, now_s)
            return commands + self._close(now_s)
        return commands + session.renew(self._entries(), now_s)

    def _close(self, now_s: float) -> list[Command]:
        # Safety: see test_session_closed_before_promises_lapsed
        return self.session.close() if all(e.ledger.lapsed(now_s) for e in self.elections.values()) else []

    def _entries(self) -> tuple[Entry, ...]:
        return tuple(Entry(e.name, e.token) for e in self.elections.values() if e.token is not None and e.phase in _PROVEN)

    def _resting(self, election: Election) -> State:
        if self.draining:
            return State.DRAINING
        if not self.session.live:
            return State.UNKNOWN if self.session.ever_live else State.STARTING
        if election.orders.held is Reason.PAUSED:
            return State.PAUSED
        if election.phase is Phase.RELEASING:
            return State.DRAINING
        if election.reason is Reason.STANDING and not election.placed:
            return State.STARTING
        return State.LEADER if election.phase is Phase.LEADING else State.FOLLOWER

    def _index(self, election: Election, state: State) -> int:
        """One more than the last one if state, token or leader changed."""
        term = election.term
        gist = (state, None, election.leader) if term is None else (state, term.token, self.config.instance)
        index, last = self._gists.get(election.name, (1, gist))
        if last != gist:
            index += 1
        self._gists[election.name] = (index, gist)
        return index
