"""A hold: a promise kept open by a stream, extended while the term lasts, given back when the connection closes."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

from leaderd.election.problems import Reason
from leaderd.election.state import Phase, State, Term
from leaderd.surfaces.http import hold as holds
from tests.surfaces.rig import PATIENCE_S, Reply, Rig, Wire, following, leading, snapshot

DRAINING = following(phase=Phase.RELEASING, resting=State.DRAINING, reason=Reason.DRAINING, index=18)
PATH = "/v1/elections/daily-report/hold"


async def hold(rig: Rig, query: str = "", listener: str = "app") -> Wire:
    """An open hold, its head read."""
    wire = await rig.connect(listener)
    wire.send(f"GET {PATH}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        head = (await wire.reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200 ")
    assert "content-type: text/event-stream" in head
    return wire


async def event(wire: Wire) -> tuple[str, dict]:
    """The next event: its kind and its datum."""
    async with asyncio.timeout(PATIENCE_S):
        block = (await wire.reader.readuntil(b"\n\n")).decode()
    fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


async def given_back(rig: Rig) -> None:
    """Wait until nothing is promised by any hold."""
    async with asyncio.timeout(PATIENCE_S):
        while rig.ledgers["daily-report"].until_s > rig.clock.boot_s:
            await asyncio.sleep(0)  # a turn of the loop


async def test_from_the_first_event_to_the_last(leader: Rig) -> None:
    wire = await hold(leader)
    kind, datum = await event(wire)
    assert (kind, datum["leader"], datum["token"], datum["valid_for_ms"]) == ("held", True, 42, 1000)
    assert datum["valid_until_boottime_ns"] == 101_000_000_000
    leader.clock.boot_s = 100.4
    leader.board.publish(leader.board.snapshot)
    kind, datum = await event(wire)
    assert (kind, datum["valid_until_boottime_ns"], datum["valid_for_ms"]) == ("tick", 101_400_000_000, 1000)
    leader.board.publish(snapshot(DRAINING))
    kind, datum = await event(wire)
    assert (kind, datum["leader"], datum["reason"], datum["token"]) == ("ending", False, "draining", 42)
    assert (datum["valid_until_boottime_ns"], datum["valid_for_ms"]) == (101_400_000_000, 1000)
    leader.clock.boot_s = 101.4
    leader.board.publish(snapshot(DRAINING))
    kind, datum = await event(wire)
    assert (kind, datum["leader"], datum["valid_for_ms"]) == ("ended", False, 0)
    assert await wire.rest() == b""


async def test_closing_the_connection_gives_the_promise_back(leader: Rig) -> None:
    given: list[str] = []
    leader.board.on_given_back = lambda: given.append("back")
    wire = await hold(leader, "?promise=5s", "socket")
    await event(wire)
    assert leader.ledgers["daily-report"].until_s == 105.0
    assert leader.promised() == []  # nothing that could not be given back
    leader.board.publish(snapshot(DRAINING))
    wire.close()
    await given_back(leader)
    assert leader.ledgers["daily-report"].until_s < leader.clock.boot_s
    assert given == ["back"]


async def test_the_end_of_the_request_side_gives_it_back_too(leader: Rig) -> None:
    wire = await hold(leader, "?promise=5s")
    await event(wire)
    wire.writer.write_eof()
    await given_back(leader)


async def test_closing_with_something_unread_gives_it_back_too(leader: Rig) -> None:
    """The kernel then says that the connection was reset."""
    wire = await hold(leader, "?promise=5s", "socket")
    wire.writer.transport.pause_reading()
    leader.board.publish(snapshot(leading(silent=True)))
    await leader.ask("/livez")
    wire.writer.transport.abort()
    await given_back(leader)


async def test_a_connection_that_we_close_gives_nothing_back(leader: Rig) -> None:
    """I10: the holder has not said that it has finished; it may be at work, and not even have noticed."""
    wire = await hold(leader, "?promise=5s", "socket")
    await event(wire)
    wire.send(b"x" * 70_000)  # a holder says nothing: enough of that
    await wire.rest()
    assert leader.ledgers["daily-report"].until_s == 105.0
    assert not leader.ledgers["daily-report"]._held
    assert len(leader.surfaces.routes._holds) == 0


async def test_a_connection_from_elsewhere_that_closes_gives_nothing_back(leader: Rig) -> None:
    """Between us there may be a proxy that has closed it, and the holder may not know."""
    wire = await hold(leader, "?promise=5s")
    await event(wire)
    next(iter(leader.surfaces._pool._streams)).from_loopback = False
    wire.close()
    async with asyncio.timeout(PATIENCE_S):
        while leader.surfaces.connections:
            await asyncio.sleep(0)
    assert leader.ledgers["daily-report"].until_s == 105.0


async def test_a_promise_beyond_the_lease_follows_the_lease(leader: Rig) -> None:
    wire = await hold(leader, "?promise=1h")
    assert (await event(wire))[1]["valid_until_boottime_ns"] == 107_312_000_000
    leader.clock.boot_s = 103.0
    leader.board.publish(snapshot(leading(term=Term(42, 95.0, 111.0))))
    kind, datum = await event(wire)
    assert (kind, datum["valid_until_boottime_ns"]) == ("tick", 111_000_000_000)


async def test_ticks_come_by_themselves(leader: Rig) -> None:
    wire = await hold(leader, "?promise=300ms")
    await event(wire)
    for at_s in (100.06, 100.12):
        leader.clock.boot_s = at_s
        kind, datum = await event(wire)
        assert (kind, datum["valid_for_ms"]) == ("tick", 300)


async def test_a_promise_that_is_not_renewed_runs_out_but_the_stream_lives_with_the_term(leader: Rig) -> None:
    wire = await hold(leader, "?promise=2s&renew=0")
    assert (await event(wire))[1]["valid_until_boottime_ns"] == 102_000_000_000
    leader.clock.boot_s = 101.0
    leader.board.publish(leader.board.snapshot)
    kind, datum = await event(wire)
    assert (kind, datum["leader"], datum["valid_for_ms"]) == ("tick", True, 1000)
    leader.clock.boot_s = 103.0
    leader.board.publish(leader.board.snapshot)
    kind, datum = await event(wire)
    assert (kind, datum["valid_for_ms"], datum["valid_until_boottime_ns"]) == ("tick", 0, 102_000_000_000)
    leader.board.publish(snapshot(DRAINING))
    assert (await event(wire))[0] == "ended"  # nothing is left to finish in
    assert leader.ledgers["daily-report"].until_s <= leader.clock.boot_s


async def test_another_term_ends_the_hold_of_the_one_before(leader: Rig) -> None:
    wire = await hold(leader)
    await event(wire)
    leader.board.publish(snapshot(leading(term=Term(43, 99.0, 107.0), index=19)))
    kind, datum = await event(wire)
    assert (kind, datum["token"], datum["leader"], datum["reason"]) == ("ending", 42, False, "other_term")
    leader.clock.boot_s = 101.0
    leader.board.publish(leader.board.snapshot)
    assert (await event(wire))[0] == "ended"


async def test_a_follower_has_nothing_to_hold(follower: Rig) -> None:
    reply = await follower.ask(PATH)
    assert (reply.status, reply.json["leader"], reply.json["leader_instance"]) == (503, False, "pod-b")
    assert reply.headers["x-leaderd-state"] == "follower"


async def test_conditions_that_are_not_met_are_a_no(leader: Rig) -> None:
    for query, reason in (("?token=41", "other_term"), ("?min_valid=8s", "min_valid_unmet")):
        reply = await leader.ask(PATH + query)
        assert (reply.status, reply.json["reason"]) == (503, reason)
    assert leader.ledgers["daily-report"].until_s == -math.inf


@pytest.mark.parametrize("query", ["?promise=0", "?promise=249ms", "?promise=soon", "?renew=2", "?token=x", "?election=a", "?x=1"])
async def test_what_is_not_understood_is_refused(leader: Rig, query: str) -> None:
    assert (await leader.ask(PATH + query)).status == 400
    assert leader.ledgers["daily-report"].until_s == -math.inf


async def test_unknown_elections_and_paths(leader: Rig) -> None:
    for path in ("/v1/elections/other/hold", "/v1/elections//hold", "/v1/elections/a/b/hold", "/is-leader/daily-report/hold"):
        assert (await leader.ask(path)).status == 404


async def test_only_this_host_may_hold(leader: Rig) -> None:
    def refused(reply: Reply) -> bool:
        return reply.status in {403, 405} and leader.ledgers["daily-report"].until_s == -math.inf

    assert refused(await leader.ask(PATH, "ops"))
    assert refused(await leader.ask(PATH, headers="Host: localhost\r\nOrigin: https://evil.example\r\n"))
    assert refused(await leader.ask(PATH, headers="Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"))
    assert refused(await leader.ask(PATH, method="HEAD"))
    assert (await leader.ask(PATH, headers="Host: evil.example\r\n")).status == 421


async def test_a_holder_that_does_not_read_is_not_promised_more(leader: Rig) -> None:
    wire = await hold(leader, "?promise=300ms", "socket")
    await event(wire)
    stream = next(iter(leader.surfaces.routes._holds._open))
    stream.paused()
    leader.clock.boot_s = 100.4
    leader.board.publish(leader.board.snapshot)
    await leader.ask("/livez")
    assert leader.ledgers["daily-report"].until_s <= 100.4
    stream.resumed()
    assert leader.ledgers["daily-report"].until_s == pytest.approx(100.7)
    stream.paused()
    leader.clock.boot_s = 100.8 + holds.STUCK_S
    stream.look()
    await wire.rest()
    await given_back(leader)


async def test_the_daemons_end_closes_it_and_asks_nothing_of_the_store(leader: Rig) -> None:
    given: list[str] = []
    wire = await hold(leader)
    leader.board.on_given_back = lambda: given.append("back")
    await leader.surfaces.stop()
    assert (await wire.rest()).count(b"event: ") == 1
    assert given == []
