"""Tables, their versions, the connection, and SQLite's errors as problems.

Durability. The file is in WAL mode with `synchronous=NORMAL`: a commit survives the death of any process without waiting for the
disk. A power cut may lose the last commits, and loses all sessions anyway (another boot). What must not be lost is a token once
given, so the transaction that gives tokens runs with `synchronous=FULL` (`durable=True`), which flushes all earlier commits too.

Versions. `user_version` is 100 * generation + number of steps applied. A file of a higher step of our generation is used as it is:
steps only add tables, so that daemons of two versions can share one file during an upgrade.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from leaderd.election.problems import Outcome, Reason
from leaderd.stores.local.problem import LocalError

APPLICATION_ID = 0x4C445231  # "LDR1"
GENERATION = 1
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE session (
            id TEXT NOT NULL PRIMARY KEY CHECK (typeof(id) = 'text'),
            instance TEXT NOT NULL CHECK (typeof(instance) = 'text'),
            incarnation TEXT NOT NULL CHECK (typeof(incarnation) = 'text'),
            boot TEXT NOT NULL CHECK (typeof(boot) = 'text'),
            time_ns TEXT NOT NULL CHECK (typeof(time_ns) = 'text'),
            ttl_s REAL NOT NULL CHECK (typeof(ttl_s) = 'real'),
            expires_s REAL NOT NULL CHECK (typeof(expires_s) = 'real')
        ) WITHOUT ROWID""",
        # AUTOINCREMENT: a token is above all that were ever given, also to entries deleted since.
        """CREATE TABLE entry (
            token INTEGER PRIMARY KEY AUTOINCREMENT,
            election TEXT NOT NULL CHECK (typeof(election) = 'text'),
            session TEXT NOT NULL CHECK (typeof(session) = 'text'),
            UNIQUE (session, election)
        )""",
        "CREATE INDEX entry_queue ON entry (election)",
        """CREATE TABLE mark (
            election TEXT NOT NULL PRIMARY KEY CHECK (typeof(election) = 'text'),
            token INTEGER NOT NULL CHECK (typeof(token) = 'integer' AND token >= 0)
        ) WITHOUT ROWID""",
        # Counts changes of queues and marks, not renewals: what a waiter looks at instead of the queues.
        "CREATE TABLE revision (n INTEGER NOT NULL CHECK (typeof(n) = 'integer'))",
        "INSERT INTO revision VALUES (0)",
        # A trigger rather than a foreign key: it works in the sqlite3 shell too, where an operator may revoke a session.
        "CREATE TRIGGER session_gone AFTER DELETE ON session BEGIN DELETE FROM entry WHERE session = OLD.id; END",
        *(
            f"CREATE TRIGGER {table}_{verb} AFTER {verb} ON {table} BEGIN UPDATE revision SET n = n + 1; END"  # noqa: S608 - constants
            for table, verb in [
                ("entry", "insert"),
                ("entry", "update"),
                ("entry", "delete"),
                ("mark", "insert"),
                ("mark", "update"),
            ]
        ),
    ),
    (
        # AUTOINCREMENT again: a record's version is never given twice, not even after a deletion.
        """CREATE TABLE record (
            version INTEGER PRIMARY KEY AUTOINCREMENT,
            election TEXT NOT NULL CHECK (typeof(election) = 'text'),
            kind TEXT NOT NULL CHECK (typeof(kind) = 'text'),
            value BLOB NOT NULL CHECK (typeof(value) = 'blob'),
            UNIQUE (election, kind)
        )""",
        *(
            f"CREATE TRIGGER record_{verb} AFTER {verb} ON record BEGIN UPDATE revision SET n = n + 1; END"  # noqa: S608 - constants
            for verb in ("insert", "update", "delete")
        ),
    ),
)
SCHEMA_VERSION = 100 * GENERATION + len(STEPS)

_DENIED = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def connect(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open the database and bring its tables up to date. Raises `LocalError` or `sqlite3.Error`; never creates the file."""
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=busy_s, isolation_level=None)
    try:
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        db.execute("PRAGMA trusted_schema = OFF")
        _check_kind(db, path)
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LocalError(Reason.STORE_ERROR, f"{path}: this file system does not support SQLite's WAL mode")
        _migrate(db, path)
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def set_busy_timeout(db: sqlite3.Connection, busy_s: float) -> None:
    """Wait for at most `busy_s` for another process's transaction."""
    db.execute(f"PRAGMA busy_timeout = {max(1, int(busy_s * 1000))}")


def _check_kind(db: sqlite3.Connection, path: Path) -> int:
    application, version = db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return 0
    if application != APPLICATION_ID:
        raise LocalError(Reason.FOREIGN_ENTRY, f"{path} is the database of another program: name another directory")
    if version // 100 != GENERATION:
        raise LocalError(
            Reason.FOREIGN_ENTRY, f"{path} has schema {version}, this leaderd knows {100 * GENERATION} to {100 * GENERATION + 99}"
        )
    return int(version)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _check_kind(db, path) >= SCHEMA_VERSION:
        return
    with transaction(db, durable=True):
        version = _check_kind(db, path)  # again: another daemon may have been quicker
        if version >= SCHEMA_VERSION:
            return
        for step in STEPS[version % 100 :]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


class CommitFailed(Exception):
    """COMMIT raised `cause`: whether the transaction took place is not known."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def transaction(db: sqlite3.Connection, *, durable: bool = False) -> Iterator[None]:
    """One transaction that holds the exclusive right to write from its first statement on.

    `durable`: on return it is on the disk, with all that was committed before.
    """
    if durable:
        db.execute("PRAGMA synchronous = FULL")
    try:
        # Safety: see test_the_clock_is_read_after_the_right_to_write_was_won
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            _rollback(db)
            raise
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _rollback(db)
            raise CommitFailed(error) from error
    finally:
        if durable:
            db.execute("PRAGMA synchronous = NORMAL")


def _rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # some errors have rolled back already; the connection is dropped after any of them


def sqlite_problem(error: sqlite3.Error | CommitFailed, path: Path) -> LocalError:
    """What SQLite said, for a human. Re-raises what is no condition of the file but a fault of ours."""
    outcome = Outcome.FAILED
    if isinstance(error, CommitFailed):
        error, outcome = error.cause, Outcome.UNKNOWN
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        raise error
    primary = code & 0xFF
    if primary in _BUSY:
        return LocalError(Reason.STORE_UNREACHABLE, f"{path} is locked: another process holds a transaction open", outcome)
    if primary in _DENIED:
        return LocalError(Reason.PERMISSION_DENIED, f"{path} cannot be written: {error}", outcome)
    if primary == sqlite3.SQLITE_NOTADB:
        return LocalError(Reason.FOREIGN_ENTRY, f"{path} is not an SQLite database: move it away", outcome)
    if primary == sqlite3.SQLITE_CORRUPT:
        return LocalError(Reason.STORE_ERROR, f"{path} is damaged: stop all daemons of this directory and move it away", outcome)
    if primary == sqlite3.SQLITE_FULL:
        return LocalError(Reason.STORE_ERROR, f"{path}: the disk is full", outcome)
    return LocalError(Reason.STORE_ERROR, f"{path}: {error}", outcome)


def is_busy(error: sqlite3.Error | CommitFailed) -> bool:
    """Whether the connection is sound and only somebody else's transaction was in the way."""
    cause = error.cause if isinstance(error, CommitFailed) else error
    return (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF in _BUSY
