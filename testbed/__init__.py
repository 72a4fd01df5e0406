"""Real ZooKeeper, etcd and Consul servers for tests, benchmarks and trying leaderd by hand. No root, no containers.

`python -m testbed fetch` gets them; `EtcdCluster`, `ZooKeeperCluster` and `ConsulCluster` run them on loopback ports;
`require` is what a test calls first, so that a missing server fails in CI and is a loud skip anywhere else.
"""

from __future__ import annotations

import os
from typing import NoReturn

from testbed.cluster import Cluster
from testbed.consul import ConsulCluster
from testbed.etcd import EtcdCluster, EtcdUser
from testbed.fetch import FetchError, available
from testbed.process import StartError, WaitTimeout, wait_until
from testbed.zookeeper import ZooKeeperCluster

__all__ = [
    "Cluster",
    "ConsulCluster",
    "EtcdCluster",
    "EtcdUser",
    "FetchError",
    "StartError",
    "WaitTimeout",
    "ZooKeeperCluster",
    "available",
    "lacking",
    "require",
    "wait_until",
]


def require(server: str, version: str | None = None) -> None:
    """Called by a test that needs a server: skips it with the reason, or fails it in CI (CI=true), when there is none.

    `server` is etcd, zookeeper, consul or curator; without a version the newest of the test bed.
    """
    reason = available(server, version)
    if reason is not None:
        lacking("server", reason)


def lacking(what: str, reason: str) -> NoReturn:
    """Ends a test for want of something (a "server", a "tool"): a loud skip, but in CI a failure, lest a whole part goes unseen."""
    import pytest

    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"{reason} (in CI a missing {what} is a failure)", pytrace=False)
    pytest.skip(f"NO {what.upper()}: {reason}")
