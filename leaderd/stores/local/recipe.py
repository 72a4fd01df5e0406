"""The transactions: what each command does to the tables. Plain functions of a connection and the time.

A session is *alive* while `expires_s` lies ahead on this boot's clock. The entries of living sessions, in the order of their
tokens, are an election's queue; the first is entitled to claim. Sessions that are not alive are removed by whoever writes next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from leaderd.election.commands import Entry
from leaderd.election.events import Contender
from leaderd.election.problems import Reason
from leaderd.stores.local.host import Host
from leaderd.stores.local.problem import LocalError, SessionLost
from leaderd.stores.local.schema import transaction

MAX_MARK = 2**62
"""Above it a mark is not believed: it would leave no tokens."""
_QUEUE_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """One living entry of a queue."""

    token: int
    session: str
    instance: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """An election as seen at one instant."""

    election: str
    queue: tuple[Member, ...]
    mark: int

    def ahead_until_s(self, session: str) -> float | None:
        """When all who stand before `session` will have expired unless they renew; None if it is first or not there."""
        ahead: list[float] = []
        for member in self.queue:
            if member.session == session:
                return max(ahead) if ahead else None
            ahead.append(member.expires_s)
        return None

    def contenders(self, session: str) -> tuple[Contender, ...]:
        """The queue for `status`."""
        return tuple(Contender(shown(member.instance), member.session == session, member.token) for member in self.queue)

    def token_first(self) -> int | None:
        """The token of the first, or None if nobody stands."""
        return self.queue[0].token if self.queue else None

    def led(self) -> bool:
        """Whether the first has claimed."""
        return self.token_first() == self.mark


def shown(text: str) -> str:
    """A name from the file, fit for a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:255])


def _member(row: tuple[object, ...]) -> Member:
    match row:
        case (int(token), str(session), str(instance), float(expires_s)):
            return Member(token, session, instance, expires_s)
    raise LocalError(Reason.FOREIGN_ENTRY, f"an entry of the local store is malformed: {shown(repr(row))}")


@dataclass(frozen=True, slots=True)
class Left:
    """What a transaction left behind for others: whom to wake, whose bells to take down."""

    wake: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()


@dataclass(slots=True)
class Foreign:
    """Sessions of another time namespace, whose expiry we cannot read: (expiry, when we first saw it) by session id.

    One that has not renewed for a whole ttl of ours is dead: clocks of one kernel run at one rate.
    """

    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def judge(self, rows: list[tuple[str, float, float]], now_s: float) -> list[str]:
        """The ids among `rows` (id, expiry, ttl) that are certainly dead."""
        self.seen = {
            sid: self.seen[sid] if sid in self.seen and self.seen[sid][0] == expires_s else (expires_s, now_s)
            for sid, expires_s, _ in rows
        }
        return [sid for sid, _, ttl_s in rows if now_s > self.seen[sid][1] + ttl_s]


@dataclass(slots=True)
class Recipe:
    """The transactions of one session over one connection."""

    db: sqlite3.Connection
    host: Host
    session: str
    now_s: Callable[[], float]

    # ---- session

    def open(self, instance: str, incarnation: str, ttl_s: float, foreign: Foreign, hang_bell: Callable[[set[str]], None]) -> Left:
        """Enter the session; `hang_bell(living sessions)` is called inside the transaction. Raises `LocalError`."""
        with transaction(self.db):
            now_s = self.now_s()
            dead, heirs = self._purge(now_s)
            self._refuse_other_clocks(foreign, now_s)
            self.db.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self.session, instance, incarnation, self.host.boot, self.host.time_ns, float(ttl_s), now_s + ttl_s),
            )
            hang_bell({row[0] for row in self.db.execute("SELECT id FROM session")})
        return Left(heirs, dead)

    def _refuse_other_clocks(self, foreign: Foreign, now_s: float) -> None:
        rows = self.db.execute("SELECT id, expires_s, ttl_s FROM session WHERE time_ns != ?", (self.host.time_ns,)).fetchall()
        dead = foreign.judge(rows, now_s)
        self.db.executemany("DELETE FROM session WHERE id = ?", [(sid,) for sid in dead])
        # Safety: see test_another_time_namespace_is_refused
        if len(dead) < len(rows):
            detail = (
                "daemons of another time namespace use this directory: give all of them one time namespace, or a directory each"
            )
            raise LocalError(Reason.STORE_ERROR, detail)

    def _purge(self, now_s: float) -> tuple[frozenset[str], frozenset[str]]:
        """Remove sessions that are not alive; returns them, and the sessions that may be first now."""
        # An expiry of another time namespace means nothing on our clock.
        query = "SELECT id FROM session WHERE boot != ? OR (time_ns = ? AND expires_s <= ?)"
        values = (self.host.boot, self.host.time_ns, now_s)
        dead = [row[0] for row in self.db.execute(query, values)]
        if not dead:
            return frozenset(), frozenset()
        elections: set[str] = set()
        for sid in dead:
            elections.update(row[0] for row in self.db.execute("SELECT election FROM entry WHERE session = ?", (sid,)))
            self.db.execute("DELETE FROM session WHERE id = ?", (sid,))
        return frozenset(dead), self._first_of(elections, now_s)

    def renew(self, ttl_s: float, entries: tuple[Entry, ...]) -> tuple[frozenset[str], frozenset[str], Left]:
        """Keep the session for another `ttl_s` from now; returns which entries are ours, which are not. Raises `SessionLost`."""
        with transaction(self.db):
            now_s = self.now_s()
            # Safety: see test_an_expired_session_is_not_renewed
            kept = self.db.execute(
                "UPDATE session SET expires_s = ?, ttl_s = ? WHERE id = ? AND boot = ? AND expires_s > ?",
                (now_s + ttl_s, float(ttl_s), self.session, self.host.boot, now_s),
            )
            if kept.rowcount != 1:
                raise SessionLost("the session expired, or was deleted from the local store")
            dead, heirs = self._purge(now_s)
            held = dict(self.db.execute("SELECT election, token FROM entry WHERE session = ?", (self.session,)))
        owned = frozenset(e.election for e in entries if e.election in held and e.token in (None, held[e.election]))
        return owned, frozenset(e.election for e in entries) - owned, Left(heirs, dead)

    def close(self) -> Left:
        """End the session and everything in it."""
        with transaction(self.db):
            elections = {row[0] for row in self.db.execute("SELECT election FROM entry WHERE session = ?", (self.session,))}
            self.db.execute("DELETE FROM session WHERE id = ?", (self.session,))
            heirs = self._first_of(elections, self.now_s())
        return Left(heirs, frozenset({self.session}))

    # ---- one election

    def stand(self, election: str) -> tuple[Look, int]:
        """Enter the queue, or find our entry in it; returns the election and our token. Raises `SessionLost`."""
        # Durable: the token is about to be known outside. Safety: see test_a_token_is_on_disk_before_it_is_told
        with transaction(self.db, durable=True):
            now_s = self.now_s()
            self._assert_alive(now_s)
            self.db.execute("INSERT OR IGNORE INTO entry (election, session) VALUES (?, ?)", (election, self.session))
            token = self.own_token(election)
            assert token is not None
            return self.look(election, now_s), token

    def claim(self, election: str, token: int, mark: int) -> tuple[Look, bool]:
        """Raise the mark from `mark` to `token` if our entry is alive, first, and the mark is what the caller thinks.

        Returns the election as it is, and whether it was done. Raises `SessionLost`.
        """
        with transaction(self.db):
            now_s = self.now_s()
            self._assert_alive(now_s)
            look = self.look(election, now_s)
            first = look.queue[0] if look.queue else None
            # Safety: see test_a_claim_is_refused_while_another_is_first
            if first is None or first.session != self.session or first.token != token or look.mark != mark:
                return look, False
            self.db.execute(
                "INSERT INTO mark VALUES (?, ?) ON CONFLICT (election) DO UPDATE SET token = excluded.token", (election, token)
            )
            return Look(election, look.queue, token), True

    def withdraw(self, election: str, token: int | None) -> Left:
        """Take our entry out, if it is ours and, unless `token` is None, has that token."""
        with transaction(self.db):
            own = self.own_token(election)
            # Safety: see test_a_late_withdraw_frees_nothing
            if own is None or token not in (None, own):
                return Left()
            self.db.execute("DELETE FROM entry WHERE token = ?", (own,))
            queue = self.look(election, self.now_s()).queue
            # Only a change at the head is worth waking anybody for.
            return Left(frozenset(member.session for member in queue[:1] if member.token > own))

    def raise_mark(self, election: str, mark: int) -> None:
        """Raise the mark to at least `mark`, and the tokens to come above it."""
        if not 0 <= mark <= MAX_MARK:
            return
        with transaction(self.db, durable=True):
            self.db.execute(
                "INSERT INTO mark VALUES (?, ?) ON CONFLICT (election) DO UPDATE SET token = max(token, excluded.token)",
                (election, mark),
            )
            if self.db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'entry'", (mark,)).rowcount == 0:
                self.db.execute("INSERT INTO sqlite_sequence VALUES ('entry', ?)", (mark,))

    # ---- looking

    def probe(self) -> tuple[int, float | None]:
        """How often queues and marks have changed, and when our session expires (None: it is gone). One read of shared memory."""
        row = self.db.execute("SELECT n, (SELECT expires_s FROM session WHERE id = ?) FROM revision", (self.session,)).fetchone()
        if row is None:
            raise LocalError(Reason.STORE_ERROR, "table revision of the local store is empty: somebody changed it by hand")
        changes, expires_s = row
        return int(changes), None if expires_s is None else float(expires_s)

    def look(self, election: str, now_s: float) -> Look:
        """The election's queue and mark now."""
        rows = self.db.execute(
            "SELECT token, session, instance, expires_s FROM entry JOIN session ON session.id = entry.session "
            "WHERE election = ? AND session.boot = ? AND session.expires_s > ? ORDER BY token LIMIT ?",
            (election, self.host.boot, now_s, _QUEUE_SHOWN),
        )
        queue = tuple(_member(row) for row in rows)
        row = self.db.execute("SELECT token FROM mark WHERE election = ?", (election,)).fetchone()
        mark = row[0] if row else 0
        if not isinstance(mark, int):
            raise LocalError(Reason.FOREIGN_ENTRY, f"the mark of {election!r} in the local store is no number: {shown(repr(mark))}")
        return Look(election, queue, mark)

    def own_token(self, election: str) -> int | None:
        """The token of our entry, whether or not it is among the first that `look` shows."""
        row = self.db.execute("SELECT token FROM entry WHERE session = ? AND election = ?", (self.session, election)).fetchone()
        return int(row[0]) if row else None

    def _assert_alive(self, now_s: float) -> None:
        alive = self.db.execute(
            "SELECT 1 FROM session WHERE id = ? AND boot = ? AND expires_s > ?", (self.session, self.host.boot, now_s)
        )
        # Safety: see test_a_candidate_that_expired_while_waiting_cannot_claim
        if alive.fetchone() is None:
            raise SessionLost("the session expired, or was deleted from the local store")

    def _first_of(self, elections: set[str], now_s: float) -> frozenset[str]:
        looks = (self.look(election, now_s) for election in elections)
        return frozenset(look.queue[0].session for look in looks if look.queue) - {self.session}
