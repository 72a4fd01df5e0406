"""Three Consul servers, two of them stopped: an isolated leader renews sessions, and must not be believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from leaderd.election.commands import Entry, Renew
from leaderd.election.events import Renewed, RenewFailed
from leaderd.election.problems import Reason
from testbed import ConsulCluster, require
from tests.contract.harness import Candidate
from tests.stores.consul_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-quorum")]


@pytest.fixture(scope="module")
def three() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(3, session_ttl_min="1s") as running:
        yield running


@pytest.fixture
async def healed(three: ConsulCluster) -> AsyncIterator[ConsulCluster]:
    yield three
    for index in range(3):
        three.thaw(index)
    await asyncio.to_thread(three.wait_ready)


async def _renewal(candidate: Candidate, entries: tuple[Entry, ...]) -> Renewed | RenewFailed:
    candidate.submit(Renew(candidate.epoch, entries))
    await candidate.bench.until(lambda: candidate.find(Renewed) or candidate.find(RenewFailed), 8.0, "an answer to a renewal")
    found = candidate.find(Renewed) or candidate.find(RenewFailed)
    assert found is not None
    candidate.news.remove(found)
    return found


@pytest.mark.parametrize("holding", [True, False], ids=["leader", "follower"])
async def test_a_renewal_at_an_isolated_leader_fails(healed: ConsulCluster, holding: bool) -> None:
    """The control: the same server goes on renewing the session itself. So a bare renewal would be a lie, and is none of ours."""
    leader = await asyncio.to_thread(healed.leader_index)
    place = Place(healed, node=leader)
    try:
        one = await place.candidate(ttl_s=9.0)
        entries = (Entry("e", (await one.lead()).token),) if holding else ()
        assert isinstance(await _renewal(one, entries), Renewed)
        sessions = await place.api("GET", "/v1/session/list")
        (session,) = [s["ID"] for s in sessions if s["Name"] == f"leaderd {one.name}"]
        for index in range(3):
            if index != leader:
                healed.freeze(index)
        control = asyncio.create_task(asyncio.to_thread(healed.api, "PUT", f"/v1/session/renew/{session}", node=leader))
        answer = await _renewal(one, entries)
        assert isinstance(answer, RenewFailed), "an isolated leader was believed"
        assert answer.problem.reason in {Reason.STALE_STORE_NODE, Reason.STORE_UNREACHABLE}
        assert (await control)[0]["ID"] == session, "the isolated leader renewed nothing: this proves nothing"
        for _ in range(2):
            assert isinstance(await _renewal(one, entries), RenewFailed)
        for index in range(3):
            healed.thaw(index)
        await asyncio.to_thread(healed.wait_ready)
        for _ in range(10):
            if isinstance(answer := await _renewal(one, entries), Renewed):
                break
        assert isinstance(answer, Renewed)
        assert answer.owned == ({"e"} if holding else set())
    finally:
        await place.aclose()


async def test_another_agent_is_asked_when_one_is_frozen(healed: ConsulCluster) -> None:
    leader = await asyncio.to_thread(healed.leader_index)
    place = Place(healed)
    order = [index for index in range(3) if index != leader] + [leader]
    place.address = type(place.address)("consul", tuple(place.address.hosts[i] for i in order), place.path, False)
    try:
        one, two = await place.candidate(ttl_s=9.0), await place.candidate(ttl_s=9.0)
        claimed = await one.lead()
        await two.stand()
        healed.freeze(order[0])
        answers = [await _renewal(one, (Entry("e", claimed.token),)) for _ in range(3)]
        assert isinstance(answers[-1], Renewed)
        assert isinstance(await _renewal(two, ()), Renewed | RenewFailed)
        assert isinstance(await _renewal(two, ()), Renewed)
        # The waiting candidate's blocking query hung on the frozen agent; its failed renewal moved that as well.
        await one.withdraw("e", claimed.token)
        assert (await two.win()).token > claimed.token
    finally:
        await place.aclose()


async def test_a_lost_store_leader_costs_no_term(healed: ConsulCluster) -> None:
    leader = await asyncio.to_thread(healed.leader_index)
    place = Place(healed, node=(leader + 1) % 3)
    try:
        one = await place.candidate(ttl_s=9.0)
        claimed = await one.lead()
        healed.freeze(leader)
        entries = (Entry("e", claimed.token),)
        async with asyncio.timeout(20.0):
            while not isinstance(answer := await _renewal(one, entries), Renewed):
                pass
        assert answer.owned == {"e"}
    finally:
        await place.aclose()
