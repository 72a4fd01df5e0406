"""The Consul driver's sessions, against real servers: when one is gone, and what keeping it costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd.election.commands import Entry, Renew, Stand
from leaderd.election.events import (
    Disconnected,
    Elected,
    Renewed,
    RenewFailed,
    SessionGone,
    SessionOpened,
)
from leaderd.election.problems import Reason
from leaderd.stores.consul.agents import Agents, Reply
from testbed import ConsulCluster, require
from tests.stores.consul_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]


# ---- the session


async def test_a_waiting_candidate_notices_its_session_destroyed_within_a_second(place: Place) -> None:
    one, two = await place.candidate("holder"), await place.candidate("waiter")
    await one.lead()
    await two.stand()
    sessions = await place.api("GET", "/v1/session/list?consistent")
    (own,) = [session["ID"] for session in sessions if session["Name"] == "leaderd waiter"]
    await place.api("PUT", f"/v1/session/destroy/{own}")
    await two.expect(SessionGone, within_s=1.0)


@pytest.mark.parametrize("holding", [False, True])
async def test_a_session_is_gone_only_if_leader_and_quorum_agree(
    place: Place, holding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader just elected may not have read of the session yet; who believed it would give up a lock that is held."""
    one = await place.candidate()
    entries = (Entry("e", (await one.lead()).token),) if holding else ()
    call = Agents.call

    async def forgetful(self: Agents, method: str, path: str, *args: Any, **more: Any) -> Reply:
        reply = await call(self, method, path, *args, **more)
        if path.startswith("session/renew/"):
            return replace(reply, status=404, body=f"Session id '{path.rpartition('/')[2]}' not found".encode())
        return reply

    monkeypatch.setattr(Agents, "call", forgetful)
    one.submit(Renew(one.epoch, entries))
    refused = await one.expect(RenewFailed)
    assert refused.problem.reason is Reason.STALE_STORE_NODE
    monkeypatch.undo()
    one.submit(Renew(one.epoch, entries))
    assert (await one.expect(Renewed)).owned == ({"e"} if holding else set())


async def test_a_session_that_the_token_may_not_see_is_not_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await place.candidate()
    call = Agents.call

    async def blind(self: Agents, method: str, path: str, *args: Any, **more: Any) -> Reply:
        reply = await call(self, method, path, *args, **more)
        return replace(reply, body=b"[]") if path.startswith("session/info/") else reply

    monkeypatch.setattr(Agents, "call", blind)
    one.submit(Renew(one.epoch, ()))
    refused = await one.expect(RenewFailed)
    assert refused.problem.reason is Reason.PERMISSION_DENIED
    assert "session read" in refused.problem.detail


async def test_the_agents_restart_ends_no_session(tmp_path: Path) -> None:
    require("consul")
    with ConsulCluster(1, session_ttl_min="1s", workdir=tmp_path) as own:
        place = Place(own)
        try:
            one = await place.candidate(ttl_s=10.0)
            claimed = await one.lead()
            await asyncio.to_thread(own.kill, 0)
            one.submit(Renew(one.epoch, one.entries()))
            failed = await one.expect(RenewFailed)
            assert failed.problem.reason is Reason.STORE_UNREACHABLE
            await one.expect(Disconnected)
            await asyncio.to_thread(own.restart, 0)
            assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
            two = await place.candidate()
            await two.stand()
            await one.withdraw("e", claimed.token)
            assert (await two.win()).token > claimed.token
        finally:
            await place.aclose()


# ---- traffic


async def test_an_idle_leader_and_an_idle_follower_ask_twice_per_renewal(place: Place) -> None:
    one, two = await place.candidate(), await place.candidate()
    claimed = await one.lead()
    await two.stand()
    await two.renew()
    await place.pause(1.5)  # writing the mark wakes the query for records, while there is none
    before = one.store.traffic.requests, two.store.traffic.requests
    for _ in range(5):
        await one.renew(Entry("e", claimed.token))
        await two.renew()
        await place.pause(0.2)
    after = one.store.traffic.requests, two.store.traffic.requests
    assert [b - a for a, b in zip(before, after, strict=True)] == [10, 10]


async def test_many_terms_are_proven_in_parts(place: Place) -> None:
    """A transaction takes 64 operations, two for each term: beyond 32 terms each further 32 cost one more request."""
    one = await place.candidate(ttl_s=10.0)
    names = [f"e{n}" for n in range(70)]
    for name in names:
        one.submit(Stand(one.epoch, name))
    tokens = {name: (await one.expect(Elected, election=name, within_s=10.0)).token for name in names}
    entries = tuple(Entry(name, tokens[name]) for name in names)
    await place.pause(1.5)  # each lock is being watched by now, and nothing wakes the query for records any more
    before = one.store.traffic.requests
    assert len((await one.renew(*entries)).owned) == 70
    assert one.store.traffic.requests - before == 1 + 3
    await place.api("DELETE", f"/v1/kv/{place.path}/e40/.lock")
    renewed = await one.renew(*entries)
    assert renewed.lost == {"e40"}
    assert len(renewed.owned) == 69


async def test_the_session_opens_again_after_it_was_gone(place: Place) -> None:
    one = await place.candidate()
    await one.lead()
    await place.api("PUT", f"/v1/session/destroy/{(await place.held())['Session']}")
    await one.expect(SessionGone, within_s=1.0)
    await one.close()
    assert isinstance(await one.open(), SessionOpened)
    await one.lead(within_s=6.0)  # the lock-delay of the old one, and the retry
