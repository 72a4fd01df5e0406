"""The right driver for a store address. A driver's module, and with it its client library, is imported only when it is chosen."""

from __future__ import annotations

from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, NowS, Store

_LIBRARIES = {"etcd": ("grpc", "google"), "zookeeper": ("kazoo",)}


class StoreNotInstalled(Exception):
    """The client library of the chosen store is not installed; the text says how to get it."""


def make_store(address: StoreAddress, identity: Identity, timing: Timing, credentials: Credentials, tls: Tls, now_s: NowS) -> Store:
    """Construct the driver for `address`; it does not connect yet. Raises `StoreNotInstalled`."""
    try:
        match address.kind:
            case "local":
                from leaderd.stores.local import LocalStore

                return LocalStore(address, identity, timing, credentials, tls, now_s)
            case "etcd":
                from leaderd.stores.etcd import EtcdStore

                return EtcdStore(address, identity, timing, credentials, tls, now_s)
            case "zookeeper":
                from leaderd.stores.zookeeper import ZooKeeperStore

                return ZooKeeperStore(address, identity, timing, credentials, tls, now_s)
            case "consul":
                from leaderd.stores.consul import ConsulStore

                return ConsulStore(address, identity, timing, credentials, tls, now_s)
            case other:
                raise ValueError(f"no driver for store kind {other!r}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES.get(address.kind, ()):
            raise  # a fault of ours, not a missing extra
        message = f"the {address.kind} store needs the Python package {library!r}: pip install 'leaderd[{address.kind}]'"
        raise StoreNotInstalled(message) from error
