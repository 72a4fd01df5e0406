"""What the worker thread does with one command, and what it remembers between two of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from leaderd.election.commands import Claim, CloseSession, Command, OpenSession, RaiseMark, Renew, Stand, Withdraw, WriteRecord
from leaderd.election.events import (
    Claimed,
    Contender,
    Elected,
    EntryGone,
    Event,
    Queued,
    QueueSeen,
    RecordRefused,
    RecordSeen,
    RecordWritten,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.base import Identity, NowS
from leaderd.stores.local import files, recipe, records
from leaderd.stores.local.host import read_host
from leaderd.stores.local.problem import LocalError, SessionLost
from leaderd.stores.local.schema import CommitFailed, connect, set_busy_timeout, sqlite_problem


def bound_s(ttl_s: float) -> float:
    """Within what time a command must be answered under this ttl."""
    return min(max(ttl_s / 6.0, 0.25), 5.0)


def failure(command: Command, problem: Problem, sent_at_s: float) -> Event:
    """The event by which `command` fails. Raises `TypeError` for the two that are never answered."""
    match command:
        case OpenSession():
            return SessionFailed(command.epoch, problem)
        case Renew():
            return RenewFailed(command.epoch, sent_at_s, problem)
        case Stand() | Claim():
            return StandFailed(command.epoch, command.election, problem)
        case Withdraw():
            return Withdrawn(command.epoch, command.election, problem)
        case WriteRecord():
            return RecordRefused(command.epoch, command.election, command.kind, problem)
        case CloseSession() | RaiseMark():
            raise TypeError(f"{command} is never answered")


@dataclass(slots=True)
class Standing:
    """An election we stand in: our token, and what the core was told last."""

    token: int
    elected: tuple[int, int] | None = None
    claimed: bool = False
    seen: tuple[tuple[Contender, ...], bool] | None = None


@dataclass(slots=True)
class Desk:
    """The session, the connection and the elections of one daemon; used by the worker thread only."""

    directory: Path
    identity: Identity
    now_s: NowS
    news: Callable[[list[Event]], None]
    probe_at_s: float = 0.0
    look_at_s: float | None = None
    """When everybody before us in some queue will have expired unless they renew; None if that concerns no queue."""
    bell: files.Doorbell | None = None
    _recipe: recipe.Recipe | None = None
    _epoch: int = 0
    _ttl_s: float = 0.0
    _revision: int = -1
    _standing: dict[str, Standing] = field(default_factory=dict)
    _records: records.Versions = field(default_factory=dict)
    """The records as they were told last."""
    _file: tuple[int, int] | None = None
    _session: str | None = None
    _foreign: recipe.Foreign = field(default_factory=recipe.Foreign)

    # ---- session

    def session_open(self) -> bool:
        """Whether there is a session to look after."""
        return self._session is not None

    def open(self, command: OpenSession) -> list[Event]:
        """Open a session, connecting first if need be."""
        if self._session is not None:
            self.close()
        busy_s = bound_s(command.ttl_s) * 0.8
        path = files.prepare(self.directory)
        if self._recipe is not None and self._file != files.file_identity(path):
            self.disconnect()
        sent_at_s = self.now_s()
        db = self._recipe.db if self._recipe else connect(path, busy_s)
        set_busy_timeout(db, busy_s)
        session = files.new_session_id()
        self._recipe = recipe.Recipe(db, read_host(), session, self.now_s)
        self._file = files.file_identity(path)

        def hang_bell(living: set[str]) -> None:
            files.sweep(self.directory, living)
            try:
                self.bell = files.Doorbell(self.directory, session)
            except OSError:
                self.bell = None  # a file system without FIFOs: the probe has to do

        try:
            left = self._recipe.open(self.identity.instance, self.identity.incarnation, command.ttl_s, self._foreign, hang_bell)
        except BaseException:
            self._forget()
            raise
        self._session, self._epoch, self._ttl_s, self._revision = session, command.epoch, command.ttl_s, -1
        self.probe_at_s, self.look_at_s = self.now_s(), None
        self._tell_others(left)
        self._records = {}
        return [SessionOpened(command.epoch, sent_at_s, command.ttl_s), *self._tell_records(self._recipe)]

    def renew(self, command: Renew) -> list[Event]:
        """Renew the session and check the entries, in one transaction."""
        current, sent_at_s = self._use(command.epoch), self.now_s()
        owned, lost, left = current.renew(self._ttl_s, command.entries)
        self._tell_others(left)
        return [Renewed(command.epoch, sent_at_s, self._ttl_s, owned, lost)]

    def close(self) -> list[Event]:
        """Give the session up, in the store if that can be done."""
        try:
            if self._session is not None:
                self._tell_others(self._use(self._epoch).close())
        except SessionLost:
            pass  # as wished
        finally:
            self._forget()
        return []

    def gone(self, problem: Problem, epoch: int | None = None) -> Event:
        """The session is no more: forget it, and say so."""
        self._forget()
        return SessionGone(self._epoch if epoch is None else epoch, problem)

    def _forget(self) -> None:
        self._session = None
        self._standing.clear()
        if self.bell is not None:
            self.bell.close()
            self.bell = None

    # ---- one election

    def stand(self, command: Stand, given_up: Callable[[], bool]) -> list[Event]:
        """Enter the queue; remember it only if the event loop still waits for the answer."""
        current = self._use(command.epoch)
        look, token = current.stand(command.election)
        if given_up():
            return []
        self._standing[command.election] = Standing(token)
        return [Queued(command.epoch, command.election, token), *self._tell(look)]

    def claim(self, command: Claim) -> list[Event]:
        """Claim; say `Elected` again when only the mark had moved."""
        current, sent_at_s = self._use(command.epoch), self.now_s()
        look, done = current.claim(command.election, command.token, command.mark)
        standing = self._standing.get(command.election)
        if done:
            if standing is not None:
                standing.claimed = True
            return [Claimed(command.epoch, command.election, command.token, sent_at_s), *self._tell(look)]
        own = current.own_token(command.election)
        if own != command.token:
            self._standing.pop(command.election, None)
            return [EntryGone(command.epoch, command.election, _entry_problem(command.election, own))]
        if look.queue[0].session == current.session:
            if standing is not None:
                standing.elected = None
            return self._tell(look)
        # It expired when we looked, and had renewed when we claimed: its renewal had read the clock before.
        detail = f"{recipe.shown(look.queue[0].instance)!r} is first in {command.election!r} after all"
        return [StandFailed(command.epoch, command.election, Problem(Outcome.UNKNOWN, Reason.OTHER_LEADER, detail))]

    def withdraw(self, command: Withdraw) -> list[Event]:
        """Take our entry out and wake the next."""
        standing = self._standing.get(command.election)
        if standing is not None and command.token in (None, standing.token):
            del self._standing[command.election]
        if self._session is None or command.epoch != self._epoch:
            return [Withdrawn(command.epoch, command.election)]  # no session, so no entry
        self._tell_others(self._use(command.epoch).withdraw(command.election, command.token))
        return [Withdrawn(command.epoch, command.election)]

    def raise_mark(self, command: RaiseMark) -> list[Event]:
        """Raise the high-water mark."""
        self._use(command.epoch).raise_mark(command.election, command.mark)
        return []

    # ---- records

    def write(self, command: WriteRecord) -> list[Event]:
        """Write a record, and wake everybody."""
        db = self._use(command.epoch).db
        version, everybody = records.write(db, command.election, command.kind, command.value, command.version)
        if version is None:
            return [RecordRefused(command.epoch, command.election, command.kind)]
        for session in everybody:
            files.ring(self.directory, session)
        return [RecordWritten(command.epoch, command.election, command.kind, version)]

    def _tell_records(self, current: recipe.Recipe) -> list[Event]:
        before, self._records = self._records, records.versions(current.db)
        events: list[Event] = [RecordSeen(self._epoch, *place, None, 0) for place in before.keys() - self._records.keys()]
        for place, version in self._records.items():
            if before.get(place) != version:
                events.append(RecordSeen(self._epoch, *place, records.value(current.db, version), version))
        return events

    # ---- looking

    def look_around(self, due: bool) -> None:
        """See whether the session lives and whether queues changed; look at them then, and whenever `due`."""
        current = self._use(self._epoch)
        revision, expires_s = current.probe()
        now_s = self.now_s()
        if expires_s is None:
            raise SessionLost("the session was deleted from the local store")
        if expires_s <= now_s:
            raise SessionLost("the session expired in the local store")
        if not due and revision == self._revision:
            return
        if revision != self._revision and (seen := self._tell_records(current)):
            self.news(seen)
        self._revision = revision
        self.look_at_s = None
        for election in tuple(self._standing):
            events = self._tell(current.look(election, now_s), check_own=True)
            if events:
                self.news(events)

    def _tell(self, look: recipe.Look, *, check_own: bool = False) -> list[Event]:
        """What the core should hear about `look`, and when to look again."""
        standing, current = self._standing.get(look.election), self._recipe
        if standing is None or current is None:
            return []
        if check_own and (own := current.own_token(look.election)) != standing.token:
            del self._standing[look.election]
            return [EntryGone(self._epoch, look.election, _entry_problem(look.election, own))]
        events: list[Event] = []
        until_s = look.ahead_until_s(current.session)
        if until_s is not None:
            self.look_at_s = until_s if self.look_at_s is None else min(self.look_at_s, until_s)
        elif not standing.claimed and look.token_first() == standing.token and standing.elected != (standing.token, look.mark):
            standing.elected = (standing.token, look.mark)
            events.append(Elected(self._epoch, look.election, standing.token, look.mark))
        seen = (look.contenders(current.session), look.led())
        if seen != standing.seen:
            standing.seen = seen
            events.append(QueueSeen(self._epoch, look.election, *seen))
        return events

    # ---- the file

    def _path(self) -> Path:
        return self.directory / files.DB_NAME

    def _use(self, epoch: int) -> recipe.Recipe:
        """The transactions of the session of `epoch`, over a connection to the file that is there *now*."""
        if self._session is None or epoch != self._epoch:
            raise SessionLost("the session is closed")
        path = self._path()
        # Safety: see test_a_replaced_database_ends_the_session
        if self._file != files.file_identity(path):
            self.disconnect()
            raise SessionLost(f"{path} was removed or replaced: the session is gone with it")
        if self._recipe is None:
            self._recipe = recipe.Recipe(connect(path, bound_s(self._ttl_s) * 0.8), read_host(), self._session, self.now_s)
        return self._recipe

    def _tell_others(self, left: recipe.Left) -> None:
        for session in left.wake:
            files.ring(self.directory, session)
        for session in left.dead:
            files.take_down(self.directory, session)

    def disconnect(self) -> None:
        """Close the connection; the session stays ours."""
        if self._recipe is not None:
            try:
                self._recipe.db.close()
            except sqlite3.Error:
                pass  # it is given up for a fault already
            self._recipe = None

    def drop(self) -> None:
        """The daemon ends: let go of everything, leave the store as it is."""
        self._forget()
        self.disconnect()

    def problem_of(self, error: sqlite3.Error | CommitFailed | LocalError | OSError) -> LocalError:
        """The one place where errors become problems."""
        if isinstance(error, LocalError):
            return error
        if isinstance(error, OSError):
            return files.os_problem(error, self.directory)
        return sqlite_problem(error, self._path())


def _entry_problem(election: str, own: int | None) -> Problem:
    what = "was deleted from" if own is None else "was replaced in"
    return Problem(Outcome.FAILED, Reason.ENTRY_GONE, f"our entry {what} election {election!r} by somebody else")
