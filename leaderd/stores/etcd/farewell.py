"""Revoking the leases of sessions that are over, so that their entries go at once instead of at the end of the ttl.

Best effort: the lease of an ended session is used for nothing any more, whatever becomes of it. One that
cannot be revoked because the store is away is tried again when the next session has been opened: a store that comes back gives
every lease its full ttl anew, so our own leftover entry would stand before everybody else for that long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from leaderd.election.problems import Outcome
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import outcome_of
from leaderd.stores.etcd.wire import Wire, WireError

_LEFTOVERS = 8


class Farewells:
    """The revocations under way, and the leases that are still to be revoked."""

    def __init__(self, client: Client, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._client = client
        self._spawn = spawn
        self._left: list[int] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._answers = 0

    def revoke(self, lease: int) -> None:
        """Revoke a lease in the background."""
        task = self._spawn(self._revoke(lease))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def again(self) -> None:
        """The store answers: revoke what is left."""
        self._answers += 1
        left, self._left = self._left, []
        for lease in left:
            self.revoke(lease)

    async def wait(self, within_s: float) -> None:
        """Give what is under way a moment to arrive."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=within_s)

    async def _revoke(self, lease: int) -> None:
        async def revoke(wire: Wire, token: str | None) -> None:
            await wire.lease_revoke(lease, token, self._client.timeout_s)

        answers = self._answers
        try:
            await self._client.call(revoke, repeatable=True)
        except WireError as error:
            if outcome_of(error) is Outcome.FAILED and error.code != "UNAVAILABLE":
                return  # revoked or expired already, or not for us to revoke
            if answers != self._answers:  # the store came back while this was under way
                self.revoke(lease)
            else:
                self._left = [*self._left, lease][-_LEFTOVERS:]
