"""The records beside the elections, for one session: read at a quorum, watched, written by compare-and-set.

All records of all elections lie under one prefix, so that one read shows them and one watch tells of them, whatever their number.
A record's version is the revision of its last change, 0 where there is none: it rises with every change, and over a deletion too.

Permissions: `readwrite` on `<prefix>/.leaderd/.records/`. etcd refuses to read or watch a range that is not allowed as a whole, so
a record that is kept from us is never taken for one that is not there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from leaderd.election.problems import Problem
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.errors import problem_of
from leaderd.stores.etcd.wire import Found, WatchEvent, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session

Seen = Callable[[str, str, bytes | None, int], None]
"""Told of a record: election, kind, value (None: there is none), version."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class Records:
    """The records as this session has seen them."""

    def __init__(self, session: Session, seen: Seen) -> None:
        self._session = session
        self._seen = seen
        self._shelf = tx.shelf_of(session.path)
        self._versions: dict[bytes, int] = {}
        self._revision = 0
        self._watch: int | None = None
        self._stale = asyncio.Event()
        self._reading = asyncio.Lock()

    async def known(self) -> None:
        """Return once all records there are were told. Raises `WireError`: whoever does not know them must not go on."""
        async with self._reading:
            if self._revision == 0:
                await self._read()

    async def unknown(self) -> Problem | None:
        """Why the records are not known; None, once all there are were told."""
        try:
            await self.known()
        except WireError as e:
            return problem_of(e, f"reading {tx.key_text(self._shelf.prefix)}")
        return None

    async def follow(self) -> None:
        """Tell of every change for as long as the session lives; never gives up."""
        failures = 0
        while True:
            try:
                await self.known()
            except WireError:
                failures += 1
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
                await asyncio.sleep(pause_s * (0.5 + 0.5 * random.random()))  # noqa: S311 - jitter, no secret
                continue
            failures = 0
            await self._stale.wait()

    async def write(self, election: str, kind: str, value: bytes | None, version: int) -> int | Problem | None:
        """Put `value` (None: nothing) in place of `version`: the new version; None if it is another version; or what failed."""
        key = self._shelf.key(election, kind)
        try:
            # Not repeatable: if the first attempt was applied, the second would find another version, its own.
            reply = await self._session.txn(self._shelf.write(key, value, version), repeatable=False)
        except WireError as e:
            return problem_of(e, f"writing {tx.key_text(key)}")
        if not reply.succeeded:
            return None
        return reply.header.revision if value is not None else 0

    # ---- the watch

    def changed(self, event: WatchEvent) -> None:
        """A record changed."""
        self._tell(event.kv.key, None if event.deleted else event.kv.value, event.kv.mod_revision)

    def missed(self) -> None:
        """Changes may have been missed, or the watch was refused: read anew."""
        self._watch = None
        self._revision = 0
        self._stale.set()

    # ---- inside

    async def _read(self) -> None:
        reply = await self._session.txn(self._shelf.read(), repeatable=True)
        found = reply.results[0]
        assert isinstance(found, Found)
        self._revision = reply.header.revision
        self._stale.clear()
        for kv in found.kvs:
            self._tell(kv.key, kv.value, kv.mod_revision)
        for key in self._versions.keys() - {kv.key for kv in found.kvs}:
            self._tell(key, None, self._revision)
        self._watch = self._session.watcher.add_optional(self._shelf.prefix, self._shelf.end, self._revision + 1, self)

    def _tell(self, key: bytes, value: bytes | None, revision: int) -> None:
        place = self._shelf.record(key)
        if place is None or revision <= self._versions.get(key, 0):
            return
        if value is not None:
            self._versions[key] = revision
        elif self._versions.pop(key, None) is None:
            return
        self._seen(*place, value, revision if value is not None else 0)
