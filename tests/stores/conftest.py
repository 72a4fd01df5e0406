"""What tests of one driver share: real Consul servers, and the small etcd in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from testbed import ConsulCluster, require
from tests.stores.consul_support import Place
from tests.stores.etcd_support import MiniEtcd


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
