"""Records on ZooKeeper: behind a quorum, emptied rather than deleted, never taken for absent when they are kept from us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kazoo.security import make_acl

from leaderd.election.commands import Stand, Withdraw, WriteRecord
from leaderd.election.events import Elected, RecordRefused, RecordSeen, RecordWritten, StandFailed
from leaderd.election.problems import Reason
from leaderd.stores.zookeeper.records import Records
from testbed import ZooKeeperCluster, require
from tests.contract.harness import Candidate
from tests.stores.zookeeper_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("zookeeper-records")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ZooKeeperCluster]:
    require("zookeeper", "3.9")
    with ZooKeeperCluster(1, "3.9", tick_time_ms=500) as running:
        yield running


@pytest.fixture
async def place(cluster: ZooKeeperCluster) -> AsyncIterator[Place]:
    made = await asyncio.to_thread(Place, cluster)
    yield made
    await made.aclose()


def node(place: Place, name: str = "e.pause") -> str:
    return f"/{place.path}/.leaderd/.records/{name}"


async def write(one: Candidate, value: bytes | None, version: int) -> int:
    one.submit(WriteRecord(one.epoch, "e", "pause", value, version))
    return (await one.expect(RecordWritten)).version


async def test_a_record_that_ends_is_emptied_and_its_versions_go_on(place: Place) -> None:
    one, two = await place.candidate(), await place.candidate()
    first = await write(one, b"1", 0)
    ended = await write(one, None, first)
    await two.expect(RecordSeen, value=None, version=ended, within_s=1.0)
    assert (await place.zk("get", node(place)))[0] == b""
    two.submit(WriteRecord(two.epoch, "e", "pause", b"late", first))
    assert (await two.expect(RecordRefused)).problem is None
    again = await write(two, b"2", ended)
    assert first < ended < again
    await one.expect(RecordSeen, value=b"2", version=again, within_s=1.0)


async def test_an_operators_deletion_is_told(place: Place) -> None:
    one = await place.candidate()
    await write(one, b"1", 0)
    await one.expect(RecordSeen, value=b"1", within_s=1.0)
    await place.zk("delete", node(place))
    await one.expect(RecordSeen, value=None, version=0, within_s=1.0)
    assert await write(one, b"2", 0) > 0


async def test_what_is_no_record_hurts_nobody(place: Place) -> None:
    await place.zk("create", node(place, "nodot"), b"x", makepath=True)
    await place.zk("create", node(place, ".pause"), b"x")
    one = await place.candidate()
    await one.lead()
    assert one.find(RecordSeen) is None


async def test_a_record_that_is_kept_from_us_is_not_taken_for_none(place: Place) -> None:
    rules = [make_acl("digest", "somebody:HASH", all=True)]
    await place.zk("ensure_path", node(place).rpartition("/")[0])
    await place.zk("create", node(place), b"{}", acl=rules)
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    failed = await one.expect(StandFailed)
    assert failed.problem.reason is Reason.PERMISSION_DENIED
    assert node(place).rpartition("/")[0] in failed.problem.detail


async def test_waiting_costs_no_requests(place: Place) -> None:
    one = await place.candidate()
    await write(one, b"1", 0)
    await one.expect(RecordSeen, value=b"1", within_s=1.0)
    await place.pause(0.2)
    before = one.store.traffic.requests
    await place.pause(0.5)
    assert one.store.traffic.requests == before


async def test_a_change_of_a_record_is_told_before_the_election_that_follows_it(place: Place) -> None:
    """A pause, and then the leader leaves: whoever is next knows of the pause before it is elected."""
    one, two = await place.candidate(), await place.candidate()
    first = await one.lead()
    await two.stand()
    await two.renew(*two.entries())
    version = 0
    for number in range(5):
        one.submit(WriteRecord(one.epoch, "e", "pause", b"%d" % number, version))
        version = (await one.expect(RecordWritten)).version
    one.submit(Withdraw(one.epoch, "e", first.token))
    await two.expect(Elected)
    told = [event for _, event in two.history if isinstance(event, Elected | RecordSeen)]
    assert isinstance(told[-1], Elected)
    assert (told[-2].value, told[-2].version) == (b"4", version)


async def test_a_record_is_seen_through_a_server_that_is_behind() -> None:
    """A proposal goes before the reads: what this server answers after it is not older."""
    calls: list[str] = []

    class Client:
        def __getattr__(self, name: str) -> Any:
            async def call(*args: Any) -> Any:
                calls.append(name)
                return []

            return call

    class Session:
        client = Client()
        call_s = 1.0

    records = Records(Session(), "/p/.leaderd/.records", lambda *seen: None)  # type: ignore[arg-type]
    assert await records.unknown() is None
    assert calls == ["multi", "children"]
