"""Ways to a store that can be disturbed: a TCP proxy, or for the local store somebody else's open transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

from leaderd.stores.address import StoreAddress


class Wire(Protocol):
    """A way to the store. `heal` undoes whatever was done."""

    async def start(self) -> None:
        """Get ready."""

    def address(self, direct: StoreAddress) -> StoreAddress:
        """The address to use instead of the direct one."""

    def silence(self) -> None:
        """From now on nothing gets through, and nothing says so."""

    def refuse(self) -> None:
        """From now on connections are reset, and new ones refused."""

    def heal(self) -> None:
        """Everything gets through again."""

    async def aclose(self) -> None:
        """Tear down."""


class LockedFile:
    """The local store's outage: another process has a transaction open and keeps it open. It concerns all candidates."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "leaderd.db"
        self._db: sqlite3.Connection | None = None

    async def start(self) -> None: ...

    def address(self, direct: StoreAddress) -> StoreAddress:
        return direct

    def silence(self) -> None:
        if self._db is None:
            self._db = sqlite3.connect(self._path, timeout=5, isolation_level=None)
            self._db.execute("BEGIN IMMEDIATE")

    refuse = silence

    def heal(self) -> None:
        if self._db is not None:
            self._db.execute("ROLLBACK")
            self._db.close()
            self._db = None

    async def aclose(self) -> None:
        self.heal()
