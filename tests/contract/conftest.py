"""The benches: one per store and version, each case in a private corner of it.

Servers are started once per test process, when a case first needs them. With xdist: `pytest tests/contract -n 2 --dist loadgroup`.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from leaderd.stores.address import StoreAddress, parse_address
from tests.contract.harness import Bench
from tests.contract.operators import LocalOperator
from tests.contract.proxy import Proxy
from tests.contract.wires import LockedFile

VARIANTS = ["local", "etcd-3.4", "etcd-3.5", "zookeeper-3.8", "zookeeper-3.9", "consul-1.8"]
SIMULATED = ["sim-local", "sim-etcd", "sim-zookeeper", "sim-consul"]
_corner = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real(reason): a case that says nothing about the simulated stores")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" not in metafunc.fixturenames:
        return
    params = []
    real_only = metafunc.definition.get_closest_marker("real") is not None
    for variant in VARIANTS if real_only else VARIANTS + SIMULATED:
        # One group per store and file: evenly spread over two workers, without more servers than needed at a time.
        marks: list[Any] = [pytest.mark.xdist_group(f"{variant}-{metafunc.module.__name__}")]
        if variant in VARIANTS[1:]:
            marks.append(pytest.mark.servers)
        params.append(pytest.param(variant, marks=marks))
    metafunc.parametrize("variant", params)


class Servers:
    """The servers that have been started so far."""

    def __init__(self) -> None:
        self._clusters: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}

    def cluster(self, variant: str) -> Any:
        """The one-node cluster of this variant; skips the case, or fails it in CI, if it cannot be had."""
        import testbed

        kind, _, version = variant.partition("-")
        testbed.require(kind, version)
        if variant not in self._clusters:
            self._clusters[variant] = self._make(kind, version).start()
        return self._clusters[variant]

    def _make(self, kind: str, version: str) -> Any:
        from testbed.consul import ConsulCluster
        from testbed.etcd import EtcdCluster
        from testbed.zookeeper import ZooKeeperCluster

        match kind:
            case "etcd":
                return EtcdCluster(1, version)
            case "zookeeper":
                return ZooKeeperCluster(1, version, tick_time_ms=500)
            case _:
                return ConsulCluster(1, version, session_ttl_min="2s")

    def operator(self, variant: str, prefix: str) -> Any:
        """The operator for one corner of the cluster."""
        from kazoo.client import KazooClient

        from tests.contract.operators_servers import ConsulOperator, EtcdOperator, ZooKeeperOperator

        cluster = self.cluster(variant)
        if variant.startswith("etcd"):
            return EtcdOperator(cluster, prefix)
        if variant.startswith("consul"):
            return ConsulOperator(cluster, prefix)
        if variant not in self._clients:
            self._clients[variant] = KazooClient(cluster.plain_endpoint(0), timeout=30.0)
            self._clients[variant].start(20)
        return ZooKeeperOperator(cluster, self._clients[variant], prefix)

    def stop(self) -> None:
        for client in self._clients.values():
            client.stop()
            client.close()
        for cluster in self._clusters.values():
            cluster.stop()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.stop()


@pytest.fixture
async def bench(variant: str, tmp_path: Path, servers: Servers) -> AsyncIterator[Bench]:
    if variant == "local":
        directory = tmp_path / "store"
        address = StoreAddress("local", (), str(directory), False)
        made = Bench(variant, address, LocalOperator(directory), lambda: LockedFile(directory))
    elif variant in SIMULATED:
        from tests.contract.simulated import SimBench

        made = SimBench(variant)
    else:
        cluster = await asyncio.to_thread(servers.cluster, variant)
        prefix = f"t{next(_corner)}-{secrets.token_hex(4)}"
        address = parse_address(cluster.url(prefix))
        operator = await asyncio.to_thread(servers.operator, variant, prefix)
        made = Bench(variant, address, operator, lambda: Proxy(*address.hosts[0]))

        async def restart() -> None:
            await asyncio.to_thread(cluster.restart, 0)

        made.restart = restart
    yield made
    await made.aclose()
