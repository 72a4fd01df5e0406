"""What tests of one driver share: real Consul and ZooKeeper servers, and the small etcd in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from testbed import ConsulCluster, ZooKeeperCluster, require
from tests.stores.consul_support import Place
from tests.stores.etcd_support import MiniEtcd
from tests.stores.zookeeper_support import Place as ZooKeeperPlace


@pytest.fixture(scope="session")
def cluster() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(1, session_ttl_min="1s") as running:
        yield running


@pytest.fixture(scope="session")
def strict() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(1, acl=True) as running:
        yield running


@pytest.fixture
async def place(cluster: ConsulCluster) -> AsyncIterator[Place]:
    made = Place(cluster)
    yield made
    await made.aclose()


@pytest.fixture
async def denied(strict: ConsulCluster) -> AsyncIterator[Place]:
    made = Place(strict)
    yield made
    await made.aclose()


@pytest.fixture
def etcd() -> MiniEtcd:
    return MiniEtcd()


@pytest.fixture(scope="session", params=["3.8", "3.9"])
def zookeeper(request: pytest.FixtureRequest) -> Iterator[ZooKeeperCluster]:
    require("zookeeper", request.param)
    with ZooKeeperCluster(1, request.param, tick_time_ms=500, container_check_ms=200) as running:
        yield running


@pytest.fixture
async def zookeeper_place(zookeeper: ZooKeeperCluster) -> AsyncIterator[ZooKeeperPlace]:
    made = await asyncio.to_thread(ZooKeeperPlace, zookeeper)
    yield made
    await made.aclose()
