"""The claim: one proposal to the quorum that our node exists and that the mark is what we read, and is our token from now on."""

from __future__ import annotations

from enum import Enum
from typing import Any

from kazoo import exceptions as kz

from leaderd.stores import marks
from leaderd.stores.zookeeper.errors import SKIPPED
from leaderd.stores.zookeeper.mark import Mark
from leaderd.stores.zookeeper.transport import Client


class Claimed(Enum):
    """What became of it."""

    RAISED = "raised"
    GONE = "gone"
    """Our node is not there."""
    MOVED = "moved"
    """The mark was written since we read it."""


async def claim(client: Client, node: str, mark: Mark, token: int) -> Claimed:
    """Send it. Raises what a call raises; whether it was carried out is not known then."""
    version = mark.version

    def build(multi: Any) -> None:  # noqa: ANN401 - kazoo is untyped
        # Safety: see test_claim_without_reverifying_the_own_key
        multi.check(node, -1)
        # Safety: see test_no_high_water_mark
        multi.set_data(mark.path, marks.mark_text(token), version)

    results = await client.multi(build)
    failed = [result for result in results if isinstance(result, Exception)]
    telling = [error for error in failed if not isinstance(error, SKIPPED)]
    if len(results) == 2 and not failed:
        mark.raised(token)
        return Claimed.RAISED
    if len(results) == 2 and isinstance(results[0], kz.NoNodeError):
        return Claimed.GONE
    if telling and isinstance(telling[0], kz.BadVersionError | kz.NoNodeError):
        return Claimed.MOVED
    raise telling[0] if telling else kz.RuntimeInconsistency
