"""The records beside the elections, for one session: read behind a quorum, watched, written by compare-and-set.

All records lie in one directory, a node `<election, percent-encoded>.<kind>` each, so that one watch tells of new ones; each is
watched besides. A record's version is its node's mzxid, which rises with every change of the whole store. A record that ends is not
deleted but emptied: a node made anew would begin again with data version 0, and a compare-and-set could not tell the two apart.

A server may be behind. What is read right after a proposal that this server answered is not older than that proposal.
Permissions: read, write and create on `<path>/.leaderd/.records`; a node that we may not read is a failure, never an absence.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from kazoo import exceptions as kz
from kazoo.protocol.states import EventType

from leaderd.election.problems import Problem
from leaderd.stores.zookeeper.errors import problem_of

if TYPE_CHECKING:
    from leaderd.stores.zookeeper.session import Session

Seen = Callable[[str, str, bytes | None, int], None]
"""Told of a record: election, kind, value (None: there is none), version."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Node:
    """What was told of a record: its node's mzxid, and the data version that a write has to compare."""

    mzxid: int
    data_version: int


class Records:
    """The records as this session has seen them. `directory`: where they lie."""

    def __init__(self, session: Session, directory: str, seen: Seen) -> None:
        self._session = session
        self._directory = directory
        self._seen = seen
        self._nodes: dict[str, _Node] = {}
        self._watched: set[str] = set()
        self._listed = False
        """Whether the watch on the directory stands."""
        self._known = False
        self._stale = asyncio.Event()
        self._reading = asyncio.Lock()

    async def unknown(self) -> Problem | None:
        """Why the records are not known; None, once all there are were told."""
        try:
            await self._know()
        except (kz.KazooException, TimeoutError) as error:
            return problem_of(error, f"reading {self._directory}")
        return None

    def fresh(self, then: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Whether all that is known to have changed has been told; if not, do `then` once it has."""
        if self._known and not self._reading.locked():
            return True
        self._session.spawn(self._know_and(then))
        return False

    async def follow(self) -> None:
        """Tell of every change for as long as the session lives; never gives up."""
        failures = 0
        while True:
            self._stale.clear()
            if await self.unknown() is None:
                failures = 0
                await self._stale.wait()
                continue
            failures += 1
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
            await asyncio.sleep(pause_s * (0.5 + 0.5 * random.random()))  # noqa: S311 - jitter, no secret

    async def write(self, election: str, kind: str, value: bytes | None, version: int) -> int | Problem | None:
        """Put `value` (None: nothing) in place of `version`: the new version; None if it is another version; or what failed."""
        name, data = f"{quote(election, safe='')}.{kind}", value if value is not None else b""
        path, client = f"{self._directory}/{name}", self._session.client
        try:
            await self._know()
            node = self._nodes.get(name)
            async with asyncio.timeout(self._session.call_s):
                if node is None and version == 0:
                    stat = await client.make(path, data)
                elif node is not None and node.mzxid == version:
                    stat = await client.set(path, data, node.data_version)
                else:
                    return None
        except (kz.BadVersionError, kz.NodeExistsError, kz.NoNodeError):
            self._change()
            return None
        except (kz.KazooException, TimeoutError) as error:
            return problem_of(error, f"writing {path}")
        return int(stat.mzxid)

    def disconnected(self) -> None:
        """Watches are gone, and the world may move on."""
        self._watched.clear()
        self._listed = False
        self._change()

    # ---- inside

    async def _know_and(self, then: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if await self.unknown() is None:
            await then()

    async def _know(self) -> None:
        async with self._reading:
            if not self._known:
                self._known = True  # a change while we read is read anew
                try:
                    async with asyncio.timeout(self._session.call_s * 2):
                        await self._read()
                except BaseException:
                    self._known = False
                    raise

    async def _read(self) -> None:
        client = self._session.client
        # Safety: see test_a_record_is_seen_through_a_server_that_is_behind
        await client.multi(lambda multi: multi.check(self._directory, -1))
        names = await self._list()
        for name in names:
            if name not in self._watched:
                await self._look(name)
        for name in self._nodes.keys() - set(names):
            del self._nodes[name]
            self._tell(name, b"", 0)

    async def _list(self) -> list[str]:
        client = self._session.client
        while True:
            watch = None if self._listed else self._directory_changed
            try:
                self._listed = True
                return list(await client.children(self._directory, watch))
            except kz.NoNodeError:
                self._listed = False
                try:
                    await client.create(self._directory, b"")
                except kz.NodeExistsError:
                    pass
            except BaseException:
                self._listed = self._listed and watch is None  # whether it was set is not known
                raise

    async def _look(self, name: str) -> None:
        self._watched.add(name)
        try:
            data, stat = await self._session.client.get(f"{self._directory}/{name}", lambda event: self._changed(name, event))
        except kz.NoNodeError:
            self._watched.discard(name)
            self._change()  # it went between the list and here
            return
        except BaseException:
            self._watched.discard(name)
            raise
        node = _Node(int(stat.mzxid), int(stat.version))
        last = self._nodes.get(name)
        self._nodes[name] = node
        if last is None or node.mzxid > last.mzxid:
            self._tell(name, bytes(data), node.mzxid)

    def _tell(self, name: str, data: bytes, version: int) -> None:
        election, dot, kind = name.rpartition(".")
        if dot and election:
            self._seen(unquote(election), kind, data or None, version)

    def _directory_changed(self, event: Any) -> None:  # noqa: ANN401 - kazoo is untyped
        if event.type != EventType.NONE:
            self._listed = False
            self._change()

    def _changed(self, name: str, event: Any) -> None:  # noqa: ANN401
        if event.type != EventType.NONE:
            self._watched.discard(name)
            self._change()

    def _change(self) -> None:
        self._known = False
        self._stale.set()
