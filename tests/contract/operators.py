"""The operator's hands: what somebody with the store's own tools can see and do, without a line of the drivers under test."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Protocol


class Operator(Protocol):
    """Looks at and meddles with one election's place, by instance name."""

    async def instances(self, election: str) -> list[str]:
        """The instance names of the entries that stand in the election."""

    async def revoke_session(self, election: str, instance: str) -> None:
        """End the session that the instance's entry belongs to."""

    async def delete_entry(self, election: str, instance: str) -> None:
        """Delete the instance's entry."""

    async def overwrite_entry(self, election: str, instance: str) -> None:
        """Make the instance's entry somebody else's, in its place."""

    async def delete_election(self, election: str) -> None:
        """Delete the election's place with everything in it, but not leaderd's records beside it."""

    async def plant_foreign(self, election: str) -> None:
        """Put something in the election's place that no candidate would write."""

    async def remove_foreign(self, election: str) -> None:
        """Take it away again."""

    async def session_ids(self) -> set[str]:
        """The living sessions of the whole store."""


class LocalOperator:
    """The sqlite3 shell."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "leaderd.db"

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement as an operator would."""
        with closing(sqlite3.connect(self.path, timeout=5, isolation_level=None)) as db:
            return db.execute(statement, values).fetchall()

    async def instances(self, election: str) -> list[str]:
        query = "SELECT instance FROM entry JOIN session ON session.id = entry.session WHERE election = ? ORDER BY token"
        return [str(row[0]) for row in self.sql(query, election)] if self.path.exists() else []

    async def revoke_session(self, election: str, instance: str) -> None:
        self.sql("DELETE FROM session WHERE instance = ?", instance)

    async def delete_entry(self, election: str, instance: str) -> None:
        self.sql(
            "DELETE FROM entry WHERE election = ? AND session IN (SELECT id FROM session WHERE instance = ?)", election, instance
        )

    async def overwrite_entry(self, election: str, instance: str) -> None:
        self.sql(
            "UPDATE entry SET token = token + 1000 WHERE election = ? AND session IN (SELECT id FROM session WHERE instance = ?)",
            election,
            instance,
        )

    async def delete_election(self, election: str) -> None:
        self.sql("DELETE FROM entry WHERE election = ?", election)

    async def plant_foreign(self, election: str) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.sql("CREATE TABLE wordpress (post TEXT)")

    async def remove_foreign(self, election: str) -> None:
        self.path.unlink()

    async def session_ids(self) -> set[str]:
        """By their expiry: the dead are removed by whoever renews next."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return (
            {str(row[0]) for row in self.sql("SELECT id FROM session WHERE expires_s > ?", now_s)} if self.path.exists() else set()
        )
