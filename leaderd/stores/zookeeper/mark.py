"""The high-water mark of one election as we know it: value, the version a `Claim` compares, whether a change would be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kazoo import exceptions as kz
from kazoo.protocol.states import EventType

from leaderd.election.problems import Reason
from leaderd.stores import marks
from leaderd.stores.zookeeper import paths
from leaderd.stores.zookeeper.errors import RefusedError

if TYPE_CHECKING:
    from leaderd.stores.zookeeper.transport import Client

_RAISE_ATTEMPTS = 3
SETTLE_S = 0.05


class Mark:
    """One record, made when it is missing. `fresh`: what we know is what the store holds, else a watch would have told.

    `claimed`: it was not raised to get ready. `on_change` is called when a watch tells of a change.
    """

    def __init__(self, client: Client, path: str) -> None:
        self.path = path
        self.value = 0
        self.claimed = False
        self.version = -1
        self.fresh = False
        self._client = client
        self.on_change: Callable[[], None] = lambda: None
        self._watched = False

    async def read(self, *, watch: bool = False) -> None:
        """Read it. With `watch`, and until it changes, `fresh`. Raises `RefusedError` when what is there is no mark."""
        watch = watch and not self._watched
        self._watched = self._watched or watch
        try:
            data, stat = await self._get(watch=watch)
        except BaseException:
            self._watched = self._watched and not watch  # whether it was set is not known
            raise
        mark = marks.parse_mark(data)
        if mark is None:
            raise RefusedError(Reason.FOREIGN_ENTRY, f"{self.path} holds {paths.name_text(data)[:40]!r}, not a high-water mark")
        self.value, self.version, self.fresh = mark, int(stat.version), self._watched
        self.claimed = data == marks.mark_text(mark)

    async def raise_to(self, mark: int) -> None:
        """Have the store hold at least `mark`, and say that this was claimed; never lowers it."""
        for _ in range(_RAISE_ATTEMPTS):
            await self.read()
            # Safety: see test_a_raised_mark_is_a_claimed_one
            if self.value > mark or (self.value == mark and self.claimed):
                return
            version = self.version

            def build(multi: Any, version: int = version) -> None:  # noqa: ANN401 - kazoo is untyped
                multi.set_data(self.path, marks.mark_text(mark), version)

            await self._client.multi(build)

    async def confirm(self, node: str, token: int) -> None:
        """Say that we lead, which no request has said, unless the mark was written since. If this fails the next in line claims.

        Not in the way of a hand-over, but a moment later. Only while our node is there: a mark that was deleted and made anew
        counts its versions from 0 again, and a request may be sent long after it was made.
        """
        await asyncio.sleep(SETTLE_S)
        if self.value != token or self.claimed or not self.fresh:
            return

        def build(multi: Any, version: int = self.version) -> None:  # noqa: ANN401 - kazoo is untyped
            multi.check(node, -1)
            # Safety: see test_a_confirmation_that_is_late_changes_nothing
            multi.set_data(self.path, marks.mark_text(token), version)

        try:
            await self._client.multi(build)
        except kz.KazooException:
            pass

    def raised(self, token: int) -> None:
        """Our own claim raised it."""
        self.value, self.claimed, self.version = token, True, self.version + 1

    def forget_watch(self) -> None:
        """The connection was lost, and the watch with it."""
        self._watched = self.fresh = False

    async def _get(self, *, watch: bool) -> tuple[bytes, Any]:
        changed = self._changed if watch else None
        while True:
            try:
                data, stat = await self._client.get(self.path, changed)
                return bytes(data), stat
            except kz.NoNodeError:
                try:
                    await self._client.create(self.path, marks.mark_text(0))
                except kz.NodeExistsError:
                    pass

    def _changed(self, event: Any) -> None:  # noqa: ANN401
        if event.type != EventType.NONE:
            self._watched = self.fresh = False
            self.on_change()
