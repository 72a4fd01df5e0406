"""What somebody with the store's own tools can do to an election: end a session, delete or overwrite an entry, leave litter, count
sessions, and let the store's numbers catch up after a restore.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, Protocol, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, NotEmptyError

from testbed.cluster import Cluster
from testbed.consul import ConsulCluster
from testbed.etcd import EtcdCluster
from testbed.http import HttpError
from testbed.zookeeper import ZooKeeperCluster, session_password

_FOREIGN = "written by hand"
_LITTER = "litter"
_CATCHING_UP = 20_000
_AGAIN = 5
T = TypeVar("T")
Where = Literal["first", "beside", "place"]


class Operator(Protocol):
    """The hands of one operator, in one election."""

    def leading(self) -> str | None:
        """Something that identifies the entry that leads now; None if there is none."""

    overwriting_robs: bool
    """Whether whoever stands there loses the entry when something is written over it."""
    most_bytes: int
    """The longest value that the store takes."""

    def entry(self) -> str | None:
        """All of the entry that leads now, its value and its version included; None if there is none."""

    def standing(self) -> list[str]:
        """The instances that have an entry under a session, by what their entries say."""

    def foreign(self) -> bool:
        """Whether what we wrote by hand still stands first."""

    def revoke(self) -> None:
        """End the session or lease of the entry that leads."""

    def delete(self) -> None:
        """Delete the entry that leads."""

    def delete_all(self) -> None:
        """Delete all that there is under the path of the daemons, whoever stands there."""

    def overwrite(self) -> None:
        """Write something else in its place, under no session."""

    def litter(self, where: Where, content: bytes) -> None:
        """Write something of nobody's in the place of the first entry, beside the entries, or (ZooKeeper) where their directory
        should be, so that it can have no children. Nobody may stand there meanwhile. Raises `LookupError` where none can be.
        """

    def litter_size(self, where: Where) -> int | None:
        """How long what lies there is; None if there is nothing."""

    def sweep(self, where: Where) -> None:
        """Remove it."""

    def sessions(self) -> int:
        """How many sessions or leases the store keeps for those who stand in the election."""

    def catch_up(self, token: int) -> None:
        """Write until the store's own numbers are above `token`: what is to be done after a restore. Raises `LookupError`."""


def _known(places: Mapping[str, str], where: Where) -> str:
    if where not in places:
        raise LookupError("only ZooKeeper has a place that can be of the wrong kind: give the scenario `stores: [zookeeper]`")
    return places[where]


def _until_above(token: int, write: Callable[[], int]) -> None:
    """`write` writes something and returns the number that the store gave it."""
    for _ in range(_CATCHING_UP):
        if write() > token:
            return
    raise LookupError(f"the store's numbers are not above {token} after {_CATCHING_UP} writes")


def operator_for(cluster: Cluster, prefix: str, election: str) -> Operator:
    """The operator of that store."""
    match cluster:
        case EtcdCluster():
            return _Etcd(cluster, f"{prefix}/{election}/")
        case ZooKeeperCluster():
            return _ZooKeeper(cluster, f"/{prefix}/{election}")
        case ConsulCluster():
            return _Consul(cluster, f"{prefix}/{election}/.lock")
        case _:
            raise TypeError(f"no operator for {cluster.kind}")


class _Etcd:
    overwriting_robs = True  # the key loses its lease
    most_bytes = 1 << 20  # a request may have half as much again

    def __init__(self, cluster: EtcdCluster, place: str) -> None:
        self._cluster, self._place = cluster, place
        # Whatever lies under the place stands in the queue, so what is beside it has another name.
        self._litters = {"first": f"{place}{_LITTER}", "beside": f"{place.rstrip('/')}.{_LITTER}"}

    def _key(self) -> tuple[str, int, int] | None:
        keys = sorted(self._cluster.get(self._place, prefix=True), key=lambda key: key.create_revision)
        return (keys[0].key, keys[0].create_revision, keys[0].lease) if keys else None

    def leading(self) -> str | None:
        found = self._key()
        return f"{found[0]} of revision {found[1]}" if found is not None else None

    def entry(self) -> str | None:
        keys = sorted(self._cluster.get(self._place, prefix=True), key=lambda key: key.create_revision)
        if not keys:
            return None
        first = keys[0]
        return f"{first.key} of revision {first.create_revision}, {first.mod_revision}, lease {first.lease:x}"

    def standing(self) -> list[str]:
        return [key.value for key in self._cluster.get(self._place, prefix=True) if key.lease]

    def foreign(self) -> bool:
        found = self._key()
        return found is not None and found[2] == 0

    def _now(self) -> tuple[str, int, int]:
        found = self._key()
        if found is None:
            raise LookupError("nobody stands in the election")
        return found

    def revoke(self) -> None:
        self._cluster.lease_revoke(self._now()[2])

    def delete(self) -> None:
        self._cluster.delete(self._now()[0])

    def delete_all(self) -> None:
        self._cluster.delete(self._place.partition("/")[0] + "/", prefix=True)

    def overwrite(self) -> None:
        self._cluster.put(self._now()[0], _FOREIGN)

    def litter(self, where: Where, content: bytes) -> None:
        self._cluster.put_bytes(_known(self._litters, where), content)

    def litter_size(self, where: Where) -> int | None:
        found = self._cluster.get(self._litters[where])
        return len(found[0].value) if found else None

    def sweep(self, where: Where) -> None:
        self._cluster.delete(self._litters[where])

    def sessions(self) -> int:
        return len(self._cluster.lease_list())

    def catch_up(self, token: int) -> None:
        _until_above(token, lambda: self._cluster.put("testbed-written", ""))


class _Consul:
    overwriting_robs = True  # its flags are gone, and without them it is nobody's lock
    most_bytes = 512 << 10

    def __init__(self, cluster: ConsulCluster, key: str) -> None:
        self._cluster, self._key = cluster, key
        self._litters = {"first": key, "beside": f"{key.rpartition('/')[0]}/{_LITTER}"}

    def leading(self) -> str | None:
        found = self._cluster.kv_get(self._key)
        return f"{found['Session']}" if found is not None and found.get("Session") else None

    def entry(self) -> str | None:
        found = self._cluster.kv_get(self._key)
        return None if found is None else f"session {found.get('Session') or 'none'}, index {found['ModifyIndex']}"

    def standing(self) -> list[str]:
        found = self._cluster.kv_get(self._key)
        return [found["Value"]] if found is not None and found.get("Session") else []

    def foreign(self) -> bool:
        found = self._cluster.kv_get(self._key)
        return found is not None and not found.get("Session")

    def revoke(self) -> None:
        session = self.leading()
        if session is None:
            raise LookupError("nobody holds the lock")
        self._cluster.session_destroy(session)

    def delete(self) -> None:
        self._cluster.kv_delete(self._key)

    def delete_all(self) -> None:
        self._cluster.kv_delete(self._key.partition("/")[0] + "/", prefix=True)

    def overwrite(self) -> None:
        # A plain write leaves the session on the key, and the flags at 0.
        self._cluster.kv_put(self._key, _FOREIGN)

    def litter(self, where: Where, content: bytes) -> None:
        self._cluster.api("PUT", f"/v1/kv/{_known(self._litters, where)}", content)

    def litter_size(self, where: Where) -> int | None:
        try:
            found = self._cluster.api("GET", f"/v1/kv/{self._litters[where].rpartition('/')[0]}?recurse&consistent")
        except HttpError as error:
            if error.status != 404:  # nothing lies there at all
                raise
            return None
        values = {entry["Key"]: len(base64.b64decode(entry["Value"] or "")) for entry in found or []}
        return values.get(self._litters[where])

    def sweep(self, where: Where) -> None:
        self._cluster.kv_delete(self._litters[where])

    def sessions(self) -> int:
        return len(self._cluster.sessions())

    def catch_up(self, token: int) -> None:
        def write() -> int:
            self._cluster.kv_put("testbed-written", "")
            found = self._cluster.kv_get("testbed-written")
            return int(found["ModifyIndex"]) if found is not None else 0

        _until_above(token, write)


class _ZooKeeper:
    overwriting_robs = False  # a node's owner cannot be changed
    most_bytes = (1 << 20) - 1000  # of a packet of 1 MiB, with its path

    def __init__(self, cluster: ZooKeeperCluster, place: str) -> None:
        self._cluster, self._place = cluster, place
        self._squatter: KazooClient | None = None

    def leading(self) -> str | None:
        found = self._with(self._first)
        return f"{found[0]} of session {found[1]:x}" if found is not None else None

    def entry(self) -> str | None:
        def look(client: KazooClient) -> str | None:
            found = self._first(client)
            if found is None:
                return None
            try:
                value, stat = client.get(found[0])
            except NoNodeError:
                return None
            return f"{found[0]} of session {found[1]:x}, version {stat.version}, {value!r:.40}"

        return self._with(look)

    def standing(self) -> list[str]:
        def look(client: KazooClient) -> list[str]:
            values = []
            for name in client.get_children(self._place) if client.exists(self._place) else ():
                with suppress(NoNodeError):
                    values.append(client.get(f"{self._place}/{name}")[0].decode(errors="replace"))
            return values

        return self._with(look)

    def foreign(self) -> bool:
        return False  # the owner of a node cannot be changed

    def revoke(self) -> None:
        owner = self._with(self._now)[1]
        thief = KazooClient(self._hosts(), client_id=(owner, session_password(owner)), timeout=10.0)
        thief.start(10)
        thief.stop()
        thief.close()

    def delete(self) -> None:
        self._with(lambda client: client.delete(self._now(client)[0]))

    def delete_all(self) -> None:
        def delete(client: KazooClient) -> None:
            for _ in range(_AGAIN):  # whoever is awake makes it anew meanwhile
                with suppress(NotEmptyError):
                    client.delete("/" + self._place.split("/")[1], recursive=True)
                    return

        self._with(delete)

    def overwrite(self) -> None:
        self._with(lambda client: client.set(self._now(client)[0], _FOREIGN.encode()))

    def litter(self, where: Where, content: bytes) -> None:
        if where == "place":
            self._squat(content)
            return

        def write(client: KazooClient) -> None:
            client.ensure_path(self._place)
            if where == "first":
                client.create(f"{self._place}/_c_{_LITTER}-lock-", content, sequence=True)
            else:
                client.create(f"{self._place}/{_LITTER}", content)

        self._with(write)

    def _squat(self, content: bytes) -> None:
        """An ephemeral node has no children; it is there for as long as this client."""
        self._squatter = client = KazooClient(self._hosts(), timeout=10.0)
        client.start(10)
        client.delete(self._place, recursive=True)
        client.create(self._place, content, ephemeral=True)

    def litter_size(self, where: Where) -> int | None:
        def look(client: KazooClient) -> int | None:
            if where == "place":
                stat = client.exists(self._place)
                return stat.dataLength if stat is not None and stat.ephemeralOwner else None
            found = self._lying(client, where)
            return len(client.get(found)[0]) if found is not None else None

        return self._with(look)

    def sweep(self, where: Where) -> None:
        if self._squatter is not None:
            self._squatter.stop()
            self._squatter.close()
            self._squatter = None
            return

        def remove(client: KazooClient) -> None:
            found = self._lying(client, where)
            if found is not None:
                client.delete(found)

        self._with(remove)

    def _lying(self, client: KazooClient, where: Where) -> str | None:
        names = [name for name in client.get_children(self._place) if _LITTER in name and ("lock-" in name) is (where == "first")]
        return f"{self._place}/{names[0]}" if names else None

    def sessions(self) -> int:
        found = self._cluster.ephemerals(self._cluster.leader_index())
        return sum(any(path.startswith(self._place + "/") for path in paths) for paths in found.values())

    def catch_up(self, token: int) -> None:
        def catch_up(client: KazooClient) -> None:
            client.ensure_path("/testbed-written")
            _until_above(token, lambda: client.set("/testbed-written", b"").mzxid)

        self._with(catch_up)

    def _hosts(self) -> str:
        return ",".join(self._cluster.plain_endpoint(node) for node in self._cluster.serving)

    def _with(self, what: Callable[[KazooClient], T]) -> T:
        client = KazooClient(self._hosts(), timeout=10.0)
        client.start(10)
        try:
            return what(client)
        finally:
            client.stop()
            client.close()

    def _first(self, client: KazooClient) -> tuple[str, int] | None:
        try:
            names = [name for name in client.get_children(self._place) if "lock-" in name]
        except NoNodeError:
            return None
        for name in sorted(names, key=lambda name: name.rpartition("lock-")[2]):
            stat = client.exists(f"{self._place}/{name}")
            if stat is not None:
                return f"{self._place}/{name}", stat.ephemeralOwner
        return None

    def _now(self, client: KazooClient) -> tuple[str, int]:
        found = self._first(client)
        if found is None:
            raise LookupError("nobody stands in the election")
        return found
