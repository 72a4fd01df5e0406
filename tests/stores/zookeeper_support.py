"""What the ZooKeeper tests share: a corner of a real ensemble with an operator's eyes on it, and a server with a script."""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient
from kazoo.protocol.serialization import Create

from leaderd.election.commands import Withdraw
from leaderd.election.events import Withdrawn
from leaderd.stores.address import parse_address
from testbed import ZooKeeperCluster
from tests.contract.harness import Bench, Candidate
from tests.contract.operators_servers import ZooKeeperOperator
from tests.contract.proxy import Proxy
from tests.listener import Listener

AUTH_XID, PING_XID = -4, -2


class CreateContainer(Create):
    """What kazoo cannot make: a node that the server removes when it has become empty."""

    type = 19


class Place(Bench):
    """A private corner of an ensemble, and what somebody with zkCli.sh sees there."""

    def __init__(self, cluster: ZooKeeperCluster, *, nodes: list[int] | None = None, proxied_node: int = 0) -> None:
        self.cluster = cluster
        self.path = f"t{secrets.token_hex(4)}"
        endpoints = [cluster.endpoints[i] for i in (nodes if nodes is not None else range(cluster.nodes))]
        address = parse_address(f"{'zookeepers' if cluster.tls else 'zookeeper'}://{','.join(endpoints)}/{self.path}")
        self.eyes = KazooClient(",".join(cluster.plain_endpoint(i) for i in range(cluster.nodes)), timeout=20.0)
        self.eyes.start(20)
        host, _, port = cluster.endpoints[proxied_node].partition(":")
        super().__init__("zookeeper", address, ZooKeeperOperator(cluster, self.eyes, self.path), lambda: Proxy(host, int(port)))

    @property
    def directory(self) -> str:
        return f"/{self.path}/e"

    async def proxied(self, **more: Any) -> tuple[Proxy, Candidate]:
        proxy = await self.wire()
        assert isinstance(proxy, Proxy)
        return proxy, await self.candidate(wire=proxy, **more)

    async def zk(self, call: str, *args: Any, **more: Any) -> Any:
        """One call of the operator's own client."""
        return await asyncio.to_thread(getattr(self.eyes, call), *args, **more)

    async def marked(self) -> bytes:
        """The high-water mark, as stored."""
        data, _ = await self.zk("get", f"/{self.path}/.leaderd/e/mark")
        return bytes(data)

    async def names(self, election: str = "e") -> list[str]:
        return sorted(await self.zk("get_children", f"/{self.path}/{election}"))

    async def make_container(self, path: str) -> None:
        def make() -> None:
            result = self.eyes.handler.async_result()
            acl = self.eyes.default_acl or [*_open_acl()]
            self.eyes._call(CreateContainer(path, b"", acl, 4), result)
            result.get(timeout=5)

        await asyncio.to_thread(make)

    async def word(self, word: str, node: int = 0) -> str:
        return await asyncio.to_thread(self.cluster.four_letter_word, node, word)

    async def zxid(self) -> int:
        found = re.search(r"^Zxid: 0x([0-9a-f]+)", await self.word("srvr"), re.MULTILINE)
        assert found is not None
        return int(found.group(1), 16)

    async def watchers(self) -> dict[str, int]:
        """How many sessions watch each path of this corner."""
        found: dict[str, int] = {}
        path = ""
        for line in (await self.word("wchp")).splitlines():
            if line.startswith("/"):
                path = line.strip()
            elif line.strip() and path.startswith(f"/{self.path}/"):
                found[path] = found.get(path, 0) + 1
        return found

    async def aclose(self) -> None:
        await super().aclose()
        await asyncio.to_thread(self._close_eyes)

    def _close_eyes(self) -> None:
        self.eyes.stop()
        self.eyes.close()


def _open_acl() -> Any:
    from kazoo.security import OPEN_ACL_UNSAFE

    return OPEN_ACL_UNSAFE


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def reply(xid: int, err: int = 0, body: bytes = b"", zxid: int = 7) -> bytes:
    return frame(struct.pack(">iqi", xid, zxid, err) + body)


@dataclass
class Script:
    """A server that grants sessions and then answers each request as told: by default with a bare success.

    `answer(type, xid, body)` gives the whole reply, or None to stay silent.
    """

    answer: Callable[[int, int, bytes], bytes | None] = lambda kind, xid, body: reply(xid)
    ttl_ms: int = 3000
    greeting: bytes | None = None
    session: int = 0x1234
    seen: list[int] = field(default_factory=list)
    connects: int = 0
    port: int = 0
    _listener: Listener | None = None

    async def __aenter__(self) -> Script:
        self._listener = Listener(self._serve)
        await self._listener.start()
        self.port = self._listener.port
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        await self._listener.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._frame(reader)
            self.connects += 1
            greeting = struct.pack(">iiqi16s?", 0, self.ttl_ms, self.session, 16, b"p" * 16, False)
            writer.write(self.greeting if self.greeting is not None else frame(greeting))
            while True:
                body = await self._frame(reader)
                xid, kind = struct.unpack_from(">ii", body)
                self.seen.append(kind)
                if (answer := reply(xid) if xid == PING_XID else self.answer(kind, xid, body[8:])) is not None:
                    writer.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()

    async def _frame(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(length)


async def requests_after(place: Place, several: list[Candidate], pause_s: float) -> list[int]:
    await place.pause(pause_s)
    return [one.store.traffic.requests for one in several]


async def leave(one: Candidate, token: int) -> None:
    one.submit(Withdraw(one.epoch, "e", token))
    assert (await one.expect(Withdrawn)).problem is None
