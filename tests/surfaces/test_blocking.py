"""Blocking reads: answered when something changes or the wait is over, and always of the instant of the answer."""

from __future__ import annotations

import asyncio

import pytest

from leaderd.election.state import Term
from leaderd.surfaces.http.connection import Phase
from tests.surfaces.rig import PATIENCE_S, Rig, Wire, following, leading, snapshot


async def blocked(rig: Rig, query: str = "index=17&wait=60s", listener: str = "app") -> Wire:
    """A reader that waits."""
    wire = await rig.connect(listener)
    before = parked(rig)
    wire.send(f"GET /is-leader?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        while parked(rig) == before:
            await asyncio.sleep(0)
    return wire


def parked(rig: Rig) -> int:
    return sum(connection.phase is Phase.PARKED for connection in rig.surfaces._pool._connections)


@pytest.mark.parametrize("listener", ["app", "socket", "ops"])
async def test_answered_when_the_index_changes(leader: Rig, listener: str) -> None:
    wire = await blocked(leader, listener=listener)
    leader.board.publish(snapshot(leading(term=Term(42, 95.0, 109.0))))  # a renewal: the index is the same
    leader.board.publish(snapshot(following(index=18)))
    reply = await wire.reply()
    assert (reply.status, reply.json["index"], reply.json["leader"]) == (503, 18, False)
    assert parked(leader) == 0


async def test_another_index_is_answered_at_once(leader: Rig) -> None:
    assert (await leader.ask("/is-leader?index=16&wait=60s")).json["index"] == 17


async def test_answered_when_the_wait_is_over_as_things_are_then(leader: Rig) -> None:
    wire = await blocked(leader, "index=17&wait=20ms")
    leader.clock.boot_s = 107.312  # the deadline, and nobody has published
    reply = await wire.reply()
    assert (reply.status, reply.json["leader"]) == (503, False)


async def test_the_promise_counts_from_the_answer(leader: Rig) -> None:
    wire = await blocked(leader)
    assert leader.promised() == []
    leader.clock.boot_s = 103.0
    leader.board.publish(snapshot(leading(index=18)))
    assert (await wire.reply()).json["valid_until_boottime_ns"] == 104_000_000_000
    assert leader.promised()[-1] == 104.0


async def test_the_same_connection_can_wait_again(leader: Rig) -> None:
    wire = await blocked(leader)
    for index in (18, 19):
        leader.board.publish(snapshot(following(index=index)))
        assert (await wire.reply()).json["index"] == index
        wire.send(f"GET /is-leader?index={index}&wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            while not parked(leader):
                await asyncio.sleep(0)


async def test_what_is_pipelined_behind_it_waits_with_it(leader: Rig) -> None:
    wire = await blocked(leader)
    wire.send(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    leader.board.publish(snapshot(following(index=18)))
    assert (await wire.reply()).json["index"] == 18
    assert (await wire.reply()).json["name"] == "leaderd"


async def test_only_the_election_asked_about_wakes(two: Rig) -> None:
    wire = await blocked(two, "election=invoices&index=5&wait=60s")
    two.board.publish(snapshot(following(index=18), following("invoices", index=5)))
    await two.ask("/livez")
    assert parked(two) == 1
    two.board.publish(snapshot(following(index=18), following("invoices", index=6)))
    assert (await wire.reply()).json["index"] == 6


async def test_who_goes_away_is_forgotten_and_the_end_is_no_hang(leader: Rig) -> None:
    first, second = await blocked(leader), await blocked(leader)
    first.writer.transport.abort()
    leader.board.publish(snapshot(following(index=18)))
    assert (await second.reply()).json["index"] == 18
    third = await blocked(leader, "index=18&wait=60s")
    await leader.surfaces.stop()
    assert await third.rest() == b""


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("wait=5s", "wait"), ("index=17&wait=61s", "wait"), ("index=17&wait=5", "wait"), ("index=-1", "index"), ("index=x", "index")],
)
async def test_refusals(leader: Rig, query: str, parameter: str) -> None:
    assert (await leader.ask(f"/is-leader?{query}")).problem()["parameter"] == parameter
    assert (await leader.ask("/is-leader/nope?index=1&wait=1s")).status == 404
