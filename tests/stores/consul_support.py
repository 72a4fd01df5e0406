"""What the tests of the Consul driver stand on: a private corner of a real server, and the least a token may be allowed."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from leaderd.stores.address import parse_address
from testbed import ConsulCluster
from tests.contract.harness import Bench, Candidate
from tests.contract.proxy import Proxy

POLICY = """
key "{path}/e/.lock" {{ policy = "write" }}
key "{path}/.leaderd/e/mark" {{ policy = "write" }}
key_prefix "{path}/.leaderd/.records/" {{ policy = "write" }}
session "node0" {{ policy = "write" }}
"""


class Place(Bench):
    """A private corner of a cluster, and the operator's view of it."""

    def __init__(self, cluster: ConsulCluster, *, node: int | None = None) -> None:
        self.cluster = cluster
        self.path = f"t{secrets.token_hex(4)}"
        endpoints = cluster.endpoints if node is None else [cluster.endpoints[node]]
        address = parse_address(f"{'consuls' if cluster.tls else 'consul'}://{','.join(endpoints)}/{self.path}")
        super().__init__("consul", address, None, lambda: Proxy(*address.hosts[0]))  # type: ignore[arg-type]

    @property
    def lock(self) -> str:
        return f"{self.path}/e/.lock"

    async def key(self, key: str | None = None) -> dict[str, Any] | None:
        return await asyncio.to_thread(self.cluster.kv_get, key or self.lock)

    async def held(self) -> dict[str, Any]:
        found = await self.key()
        assert found is not None
        return found

    async def free(self) -> bool:
        found = await self.key()
        return found is None or not found.get("Session")

    async def mark_is(self, value: int) -> bool:
        found = await self.key(f"{self.path}/.leaderd/e/mark")
        return found is not None and found["Value"] == f"{value:020d}"

    async def has_ended(self, session: str) -> bool:
        return session not in {found["ID"] for found in await self.api("GET", "/v1/session/list?consistent")}

    async def api(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.cluster.api, method, path, body)

    async def proxied(self, **more: Any) -> tuple[Proxy, Candidate]:
        proxy = await self.wire()
        assert isinstance(proxy, Proxy)
        return proxy, await self.candidate(wire=proxy, **more)
