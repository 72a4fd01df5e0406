"""The four stores that daemons are put to the test on, as real servers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, require

KINDS = ("local", "etcd", "zookeeper", "consul")
ALL = [
    kind if kind == "local" else pytest.param(kind, marks=[pytest.mark.servers, pytest.mark.xdist_group(kind)]) for kind in KINDS
]
"""Parameters: those with servers are counted as such, and each store's tests stay with one worker."""


@dataclass(frozen=True)
class Bed:
    """A store to run against: its URL, a ttl it allows, and by when a crashed leader must be replaced (generously)."""

    kind: str
    url: str
    ttl: str
    crash_s: float
    cluster: Any = None


def lay(kind: str, stack: ExitStack, root: Path, nodes: int) -> Bed:
    """Start the store, until the stack is left; skips the test, or fails it in CI, if it cannot be had."""
    cluster: Any
    match kind:
        case "local":
            return Bed(kind, f"local://{root}/store", "2s", 2.1)
        case "etcd":
            require("etcd", "3.5")
            cluster, ttl, crash_s = EtcdCluster(nodes=nodes, version="3.5"), "3s", 3.5
        case "zookeeper":
            require("zookeeper", "3.9")
            cluster, ttl, crash_s = ZooKeeperCluster(nodes=nodes, version="3.9"), "4s", 4.5
        case _:
            require("consul", "1.8")
            cluster, ttl, crash_s = ConsulCluster(nodes=nodes, session_ttl_min="2s"), "5s", 16.0
    stack.enter_context(cluster)
    return Bed(kind, cluster.url("leaderd"), ttl, crash_s, cluster)
