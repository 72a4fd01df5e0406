"""The operator's hands for the servers: etcd's gateway, a plain ZooKeeper client, Consul's HTTP API."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any
from urllib.parse import quote

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from testbed.consul import ConsulCluster
from testbed.etcd import EtcdCluster
from testbed.http import HttpError, request
from testbed.zookeeper import ZooKeeperCluster, session_password

LOCK_FLAGS = 3304740253564472344


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class EtcdOperator:
    """Somebody with curl, at etcd's JSON gateway."""

    def __init__(self, cluster: EtcdCluster, prefix: str) -> None:
        self._base = f"http://{cluster.endpoints[0]}"
        self._prefix = prefix

    async def _call(self, path: str, **body: Any) -> Any:
        return json.loads(await asyncio.to_thread(request, "POST", self._base + path, body=body, timeout=5.0))

    async def _keys(self, election: str) -> list[dict[str, Any]]:
        place = f"{self._prefix}/{election}/"
        end = place[:-1] + "0"
        found = await self._call("/v3/kv/range", key=_b64(place), range_end=_b64(end), sort_target="CREATE", sort_order="ASCEND")
        return list(found.get("kvs", []))

    async def _key_of(self, election: str, instance: str) -> dict[str, Any]:
        return next(kv for kv in await self._keys(election) if kv.get("value") == _b64(instance))

    async def instances(self, election: str) -> list[str]:
        return [base64.b64decode(kv.get("value", "")).decode() for kv in await self._keys(election)]

    async def revoke_session(self, election: str, instance: str) -> None:
        await self._call("/v3/lease/revoke", ID=(await self._key_of(election, instance))["lease"])

    async def delete_entry(self, election: str, instance: str) -> None:
        await self._call("/v3/kv/deleterange", key=(await self._key_of(election, instance))["key"])

    async def overwrite_entry(self, election: str, instance: str) -> None:
        await self._call("/v3/kv/put", key=(await self._key_of(election, instance))["key"], value=_b64("somebody else"))

    async def delete_election(self, election: str) -> None:
        place = f"{self._prefix}/{election}/"
        await self._call("/v3/kv/deleterange", key=_b64(place), range_end=_b64(place[:-1] + "0"))

    async def plant_foreign(self, election: str) -> None:
        await self._call("/v3/kv/put", key=_b64(f"{self._prefix}/{election}/wordpress"), value=_b64("a post"))

    async def remove_foreign(self, election: str) -> None:
        await self._call("/v3/kv/deleterange", key=_b64(f"{self._prefix}/{election}/wordpress"))

    async def session_ids(self) -> set[str]:
        return {lease["ID"] for lease in (await self._call("/v3/lease/leases")).get("leases", [])}


class ZooKeeperOperator:
    """Somebody with zkCli.sh."""

    def __init__(self, cluster: ZooKeeperCluster, client: KazooClient, prefix: str) -> None:
        self._cluster = cluster
        self._client = client
        self._prefix = prefix

    def _place(self, election: str) -> str:
        return f"/{self._prefix}/{election}"

    def _nodes(self, election: str) -> list[tuple[str, str, int]]:
        """(path, data, owner) of each lock node, in their order."""
        try:
            names = self._client.get_children(self._place(election))
        except NoNodeError:
            return []
        found = []
        for name in sorted((n for n in names if "lock-" in n), key=lambda n: n.rpartition("lock-")[2]):
            try:
                data, stat = self._client.get(f"{self._place(election)}/{name}")
            except NoNodeError:
                continue
            found.append((f"{self._place(election)}/{name}", data.decode(), stat.ephemeralOwner))
        return found

    async def _node_of(self, election: str, instance: str) -> tuple[str, str, int]:
        return next(node for node in await asyncio.to_thread(self._nodes, election) if node[1] == instance)

    async def instances(self, election: str) -> list[str]:
        return [data for _, data, _ in await asyncio.to_thread(self._nodes, election)]

    async def revoke_session(self, election: str, instance: str) -> None:
        owner = (await self._node_of(election, instance))[2]
        await asyncio.to_thread(self._kill, owner)

    def _kill(self, session: int) -> None:
        """Join the session from another connection and close it, as Curator's KillSession does."""
        thief = KazooClient(self._cluster.plain_endpoint(0), client_id=(session, session_password(session)), timeout=10.0)
        thief.start(10)
        thief.stop()
        thief.close()

    async def delete_entry(self, election: str, instance: str) -> None:
        await asyncio.to_thread(self._client.delete, (await self._node_of(election, instance))[0])

    async def overwrite_entry(self, election: str, instance: str) -> None:
        await asyncio.to_thread(self._client.set, (await self._node_of(election, instance))[0], b"somebody else")

    async def delete_election(self, election: str) -> None:
        await asyncio.to_thread(self._client.delete, self._place(election), recursive=True)

    async def plant_foreign(self, election: str) -> None:
        path = f"{self._place(election)}/_c_00000000-0000-0000-0000-000000000000-lock-0000000000"
        await asyncio.to_thread(self._client.create, path, b"", makepath=True)

    async def remove_foreign(self, election: str) -> None:
        path = f"{self._place(election)}/_c_00000000-0000-0000-0000-000000000000-lock-0000000000"
        await asyncio.to_thread(self._client.delete, path)

    async def session_ids(self) -> set[str]:
        dump = await asyncio.to_thread(self._cluster.four_letter_word, 0, "dump")
        return set(re.findall(r"0x[0-9a-f]+", dump.partition("ephemerals")[0]))


class ConsulOperator:
    """Somebody with curl, at an agent."""

    def __init__(self, cluster: ConsulCluster, prefix: str) -> None:
        self._cluster = cluster
        self._prefix = prefix

    def _key(self, election: str) -> str:
        return f"{self._prefix}/{election}/.lock"

    async def _api(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self._cluster.api, method, path, body)

    async def _entry(self, election: str) -> dict[str, Any] | None:
        try:
            found: list[dict[str, Any]] = await self._api("GET", f"/v1/kv/{quote(self._key(election))}?consistent")
        except HttpError as error:
            if error.status == 404:
                return None
            raise
        return found[0]

    async def instances(self, election: str) -> list[str]:
        entry = await self._entry(election)
        return [base64.b64decode(entry["Value"] or "").decode()] if entry and entry.get("Session") else []

    async def _session(self, election: str) -> str:
        entry = await self._entry(election)
        assert entry is not None
        return str(entry["Session"])

    async def revoke_session(self, election: str, instance: str) -> None:
        await self._api("PUT", f"/v1/session/destroy/{await self._session(election)}")

    async def delete_entry(self, election: str, instance: str) -> None:
        await self._api("DELETE", f"/v1/kv/{quote(self._key(election))}")

    async def overwrite_entry(self, election: str, instance: str) -> None:
        held = await self._session(election)
        thief = (await self._api("PUT", "/v1/session/create", {"TTL": "20s", "LockDelay": "0s"}))["ID"]
        key = f"/v1/kv/{quote(self._key(election))}?flags={LOCK_FLAGS}"
        await self._api("PUT", f"{key}&release={held}", b"somebody else")
        await self._api("PUT", f"{key}&acquire={thief}", b"somebody else")

    async def delete_election(self, election: str) -> None:
        await self._api("DELETE", f"/v1/kv/{quote(self._prefix + '/' + election + '/')}?recurse")

    async def plant_foreign(self, election: str) -> None:
        await self._api("PUT", f"/v1/kv/{quote(self._key(election))}?flags=7", b"a post")

    async def remove_foreign(self, election: str) -> None:
        await self._api("DELETE", f"/v1/kv/{quote(self._key(election))}")

    async def session_ids(self) -> set[str]:
        return {session["ID"] for session in await self._api("GET", "/v1/session/list?consistent")}
