"""What somebody with the store's own tools can do to the entry that leads: end its session, delete it, write over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from testbed.cluster import Cluster
from testbed.consul import ConsulCluster
from testbed.etcd import EtcdCluster
from testbed.zookeeper import ZooKeeperCluster, session_password

_FOREIGN = "written by hand"
T = TypeVar("T")


class Operator(Protocol):
    """The hands of one operator, in one election."""

    def leading(self) -> str | None:
        """Something that identifies the entry that leads now; None if there is none."""

    def foreign(self) -> bool:
        """Whether what we wrote by hand still stands first."""

    def revoke(self) -> None:
        """End the session or lease of the entry that leads."""

    def delete(self) -> None:
        """Delete the entry that leads."""

    def overwrite(self) -> None:
        """Write something else in its place, under no session."""


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
    def __init__(self, cluster: EtcdCluster, place: str) -> None:
        self._cluster, self._place = cluster, place

    def _key(self) -> tuple[str, int, int] | None:
        keys = sorted(self._cluster.get(self._place, prefix=True), key=lambda key: key.create_revision)
        return (keys[0].key, keys[0].create_revision, keys[0].lease) if keys else None

    def leading(self) -> str | None:
        found = self._key()
        return f"{found[0]} of revision {found[1]}" if found is not None else None

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

    def overwrite(self) -> None:
        self._cluster.put(self._now()[0], _FOREIGN)


class _Consul:
    def __init__(self, cluster: ConsulCluster, key: str) -> None:
        self._cluster, self._key = cluster, key

    def leading(self) -> str | None:
        found = self._cluster.kv_get(self._key)
        return f"{found['Session']}" if found is not None and found.get("Session") else None

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

    def overwrite(self) -> None:
        # A plain write leaves the session on the key, and the flags at 0.
        self._cluster.kv_put(self._key, _FOREIGN)


class _ZooKeeper:
    def __init__(self, cluster: ZooKeeperCluster, place: str) -> None:
        self._cluster, self._place = cluster, place

    def leading(self) -> str | None:
        found = self._with(self._first)
        return f"{found[0]} of session {found[1]:x}" if found is not None else None

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

    def overwrite(self) -> None:
        self._with(lambda client: client.set(self._now(client)[0], _FOREIGN.encode()))

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
