"""The records beside the elections: rows of bytes, each with a version that is never given twice."""

from __future__ import annotations

import sqlite3

from leaderd.election.records import MAX_BYTES
from leaderd.stores.local.schema import transaction

Versions = dict[tuple[str, str], int]
"""The version of each record, by election and kind."""


def versions(db: sqlite3.Connection) -> Versions:
    """Which records there are."""
    rows = db.execute("SELECT election, kind, version FROM record WHERE typeof(election) = 'text' AND typeof(kind) = 'text'")
    return {(election, kind): int(version) for election, kind, version in rows}


def value(db: sqlite3.Connection, version: int) -> bytes | None:
    """A record's value; None if it is there no more; empty if it is none that we can take."""
    query = "SELECT CASE WHEN length(value) <= ? THEN value END FROM record WHERE version = ?"
    row = db.execute(query, (MAX_BYTES, version)).fetchone()
    if row is None:
        return None
    return row[0] if isinstance(row[0], bytes) else b""


def write(db: sqlite3.Connection, election: str, kind: str, new: bytes | None, version: int) -> tuple[int | None, list[str]]:
    """Put `new` in place of `version`; returns its version (None: another version is there), and all sessions, to be told."""
    # Durable: a pause must outlast a power cut.
    with transaction(db, durable=True):
        row = db.execute("SELECT version FROM record WHERE election = ? AND kind = ?", (election, kind)).fetchone()
        if (row[0] if row else 0) != version:
            return None, []
        db.execute("DELETE FROM record WHERE election = ? AND kind = ?", (election, kind))
        sessions = [row[0] for row in db.execute("SELECT id FROM session")]
        if new is None:
            return 0, sessions
        added = db.execute("INSERT INTO record (election, kind, value) VALUES (?, ?, ?)", (election, kind, new))
        return added.lastrowid, sessions
