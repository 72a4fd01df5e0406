"""The ZooKeeper driver and an ensemble of three: servers that freeze, die, or lose their quorum under a candidate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from leaderd.election.commands import Entry, Renew
from leaderd.election.events import Disconnected, EntryGone, Renewed, SessionGone
from testbed import ZooKeeperCluster, require
from tests.contract.harness import Candidate, valid_for_s
from tests.stores.zookeeper_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("zookeeper-ensemble")]
TTL_S = 6.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ZooKeeperCluster]:
    require("zookeeper", "3.9")
    with ZooKeeperCluster(3, "3.9", tick_time_ms=500) as running:
        yield running


@pytest.fixture
async def place(cluster: ZooKeeperCluster) -> AsyncIterator[Place]:
    made = await asyncio.to_thread(Place, cluster)
    yield made
    for node in range(cluster.nodes):
        if cluster.pids[node] is None:
            await asyncio.to_thread(cluster.restart, node, wait=False)
        else:
            cluster.thaw(node)
    await asyncio.to_thread(cluster.wait_ready)
    await made.aclose()


def node_of(one: Candidate) -> int:
    """The server that a candidate is connected to."""
    port = one.store._session.client._connection._socket.getpeername()[1]  # type: ignore[attr-defined]
    endpoints = one.bench.cluster.endpoints  # type: ignore[attr-defined]
    return next(i for i, endpoint in enumerate(endpoints) if endpoint.endswith(f":{port}"))


async def candidate_on(place: Place, *, the_leader: bool) -> Candidate:
    """A leading candidate that is connected to the ensemble's leader, or to a follower."""
    leader = await asyncio.to_thread(place.cluster.leader_index)
    for _ in range(40):
        one = await place.candidate(ttl_s=TTL_S)
        if (node_of(one) == leader) is the_leader:
            return one
        await one.end()
    raise AssertionError("40 times connected to the wrong kind of server")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["freeze", "kill"])
@pytest.mark.parametrize("the_leader", [False, True], ids=["follower", "leader"])
async def test_the_session_moves_to_a_living_server_in_time(place: Place, fault: str, the_leader: bool) -> None:
    """Renewed before the deadline of the renewal before: the term never pauses. Where the ensemble has to elect, a little later."""
    one = await candidate_on(place, the_leader=the_leader)
    claimed = await one.lead()
    one.keep_renewing()
    await one.expect(Renewed)
    one.forget()
    node = node_of(one)
    getattr(place.cluster, fault)(node)
    begun_s = place.now_s()
    await one.expect(Disconnected, within_s=4.0)
    await place.until(
        lambda: ((found := one.find(Renewed)) and found.owned and found.sent_at_s > begun_s and node_of(one) != node) or _pass(one),
        12.0,
        "a renewal through another server",
    )
    renewed = await one.expect(Renewed)
    confirmed_s = next(at_s for at_s, event in one.history if event is renewed)
    assert one.find(SessionGone) is one.find(EntryGone) is None
    assert renewed.owned == {"e"}
    assert claimed.token > 0
    if not the_leader:
        assert confirmed_s - begun_s < valid_for_s(one), "before the last deadline"


def _pass(one: Candidate) -> bool:
    """Drop renewals that were under way when the fault struck."""
    if (found := one.find(Renewed)) is not None:
        one.news.remove(found)
    return False


@pytest.mark.timeout(120)
@pytest.mark.parametrize("the_leader", [False, True], ids=["follower", "leader"])
async def test_a_server_without_a_quorum_confirms_nothing(place: Place, the_leader: bool) -> None:
    """It answers pings and reads from memory for a while; no renewal sent after the cut may be confirmed."""
    one = await candidate_on(place, the_leader=the_leader)
    claimed = await one.lead()
    node = node_of(one)
    others = [other for other in range(place.cluster.nodes) if other != node]
    for other in others:
        place.cluster.freeze(other)
    cut_s = place.now_s()
    one.forget()
    entries = (Entry("e", claimed.token),)
    one.submit(Renew(one.epoch, entries))
    await one.never(Renewed, for_s=3.0)
    assert not [event for _, event in one.history if isinstance(event, Renewed) and event.sent_at_s > cut_s]


@pytest.mark.timeout(120)
async def test_candidates_on_different_servers_take_turns(place: Place) -> None:
    several = [await place.candidate(ttl_s=TTL_S) for _ in range(4)]
    tokens = []
    for one in several:
        await one.stand()
    for one in several:
        claimed = await one.win()
        tokens.append(claimed.token)
        assert not any(other.find(type(claimed)) for other in several)
        await one.withdraw("e", claimed.token)
    assert tokens == sorted(tokens)
