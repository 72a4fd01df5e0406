"""One node of ours in a queue: made, found again when the answer was lost, taken out. Curator's "protection"."""

from __future__ import annotations

from typing import Any

from kazoo import exceptions as kz

from leaderd.stores.zookeeper.paths import Place
from leaderd.stores.zookeeper.transport import Client


async def make(client: Client, place: Place, prefix: str, value: bytes, session: int) -> tuple[str, int]:
    """Make our node, whose name begins with `prefix`; its path and czxid. If the answer is lost, the node is found, not made twice.

    Raises `KazooException`; then a node may exist.
    """
    while True:
        try:
            node, stat = await client.create(place.node(prefix), value, candidate=True)
            return str(node), int(stat.czxid)
        except kz.NoNodeError:
            # The directory is not there (any more): Curator makes it as a container, which the server removes when empty.
            try:
                await client.create(place.directory, b"")
            except kz.NodeExistsError:
                pass
        except kz.ConnectionLoss:
            for node, stat in await _found(client, place, prefix, session):
                return node, int(stat.czxid)


async def remove(client: Client, place: Place, prefix: str, node: str | None, session: int) -> None:
    """Take out `node`, or, when its name never reached us, whatever of our session begins with `prefix`.

    By name: the name is ours alone, by its uuid, so that nobody else's node can be meant. Raises `KazooException`.
    """
    nodes = [node] if node is not None else [found for found, _ in await _found(client, place, prefix, session)]
    for ours in nodes:
        try:
            await client.delete(ours)
        except kz.NoNodeError:
            pass


async def _found(client: Client, place: Place, prefix: str, session: int) -> list[tuple[str, Any]]:
    """Our nodes with that prefix. The server catches up with its leader first, else it might not know of them yet."""
    try:
        await client.sync(place.directory)
        names = await client.children(place.directory)
    except kz.NoNodeError:
        return []
    found = []
    for node in (place.node(name) for name in names if name.startswith(prefix)):
        try:
            _, stat = await client.get(node)
        except kz.NoNodeError:
            continue
        if stat.ephemeralOwner == session:
            found.append((node, stat))
    return found
