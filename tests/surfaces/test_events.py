"""Server-Sent Events: state first, typed changes, ticks with fresh validity, and nobody held up by a reader that does not read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from leaderd.election.events import Contender
from leaderd.election.pause import Pause
from leaderd.election.problems import Reason
from leaderd.election.state import State, Term
from leaderd.election.timing import Timing
from leaderd.surfaces.http import feed as feeds
from leaderd.surfaces.view import View
from tests.surfaces.rig import PATIENCE_S, Rig, Wire, following, leading, snapshot, surfaces

OWN = Contender("pod-a", own=True, token=42)


class Stream:
    """One subscription, event by event."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def event(self) -> tuple[str, dict, str]:
        """The next event: its kind, its datum, its id."""
        async with asyncio.timeout(PATIENCE_S):
            block = (await self.wire.reader.readuntil(b"\n\n")).decode()
        fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
        return fields["event"], json.loads(fields["data"]), fields.get("id", "")


async def subscribe(rig: Rig, query: str = "", listener: str = "app", headers: str = "") -> Stream:
    wire = await rig.connect(listener)
    wire.send(f"GET /v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        head = (await wire.reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200 ")
    assert "content-type: text/event-stream" in head
    assert "cache-control: no-store" in head
    assert "content-length" not in head
    return Stream(wire)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks every 10 ms."""
    monkeypatch.setattr(View, "tick_s", 0.01)


async def test_state_first_and_then_what_changes(leader: Rig) -> None:
    stream = await subscribe(leader)
    kind, datum, first = await stream.event()
    assert (kind, datum["leader"], datum["token"], datum["index"]) == ("state", True, 42, 17)
    leader.board.publish(snapshot(following("daily-report", index=18)))
    kind, datum, second = await stream.event()
    assert (kind, datum["leader"], datum["leader_instance"], datum["valid_for_ms"]) == ("lost", False, "pod-b", None)
    assert first != second
    leader.board.publish(snapshot(following("daily-report", index=19, leader="pod-c")))
    assert (await stream.event())[0] == "leader_changed"
    leader.board.publish(snapshot(following("daily-report", index=19, leader="pod-c"), connected=False))
    assert (await stream.event())[0] == "store"
    leader.board.publish(snapshot(leading(index=20), connected=True))
    assert [(await stream.event())[0] for _ in range(2)] == ["acquired", "store"]


async def test_a_candidate_that_joins_or_leaves_the_queue(leader: Rig) -> None:
    stream = await subscribe(leader)
    _, before, _ = await stream.event()
    for queue in ((OWN, Contender("pod-z", own=False)), (OWN,)):
        leader.board.publish(snapshot(leading(contenders=queue)))
        kind, datum, _ = await stream.event()
        assert (kind, datum["index"]) == ("queue", before["index"])


async def test_a_pause_that_is_changed_is_told_again(leader: Rig) -> None:
    stream = await subscribe(leader)
    await stream.event()
    for kind, pause in (("lost", Pause("ada", "upgrade", None)), ("paused", Pause("ada", "upgrade", 2e9))):
        view = following(index=18, resting=State.PAUSED, reason=Reason.PAUSED, pause=pause)
        leader.board.publish(snapshot(view))
        assert (await stream.event())[0] == kind


async def test_publications_that_change_nothing_are_no_news(leader: Rig) -> None:
    stream = await subscribe(leader)
    await stream.event()
    for valid_until_s in (108.0, 109.0):  # renewals
        leader.board.publish(snapshot(leading(term=Term(42, 95.0, valid_until_s))))
    leader.board.publish(snapshot(following(index=18)))
    assert (await stream.event())[0] == "lost"


async def test_a_change_within_one_step_of_the_loop_is_told_as_it_is_now(leader: Rig) -> None:
    """Latest wins: a term that came and went before anybody could write is not announced as a yes."""
    stream = await subscribe(leader)
    await stream.event()
    leader.board.publish(snapshot(following(index=18)))
    leader.board.publish(snapshot(leading(index=19, term=Term(50, 99.0, 107.0))))
    leader.board.publish(snapshot(following(index=20)))
    kind, datum, _ = await stream.event()
    assert (kind, datum["leader"], datum["index"]) == ("lost", False, 20)


@pytest.mark.usefixtures("often")
async def test_ticks_carry_fresh_validity_and_turn_to_no_at_the_deadline(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        stream = await subscribe(rig)
        await stream.event()
        rig.clock.boot_s = 107.0
        kind, datum, identity = await stream.event()
        while datum["valid_for_ms"] == 1000:  # ticks from before the clock moved
            kind, datum, identity = await stream.event()
        assert (kind, datum["leader"], datum["valid_for_ms"], identity) == ("tick", True, 312, "")
        rig.clock.boot_s = 107.312
        while datum["leader"]:
            kind, datum, identity = await stream.event()
        assert (kind, datum["token"], datum["valid_until_boottime_ns"]) == ("tick", None, None)


async def test_what_a_stream_promises(leader: Rig) -> None:
    stream = await subscribe(leader)
    assert (await stream.event())[1]["valid_for_ms"] == 1000
    assert leader.promised()[-1] == pytest.approx(101.0)
    looking = await subscribe(leader, "?promise=0")
    assert (await looking.event())[1]["valid_for_ms"] == 0
    ops = await subscribe(leader, "?promise=5s", "ops")
    assert (await ops.event())[1]["valid_for_ms"] == 1000, "nobody on the network can hold a hand-over back for longer"
    page = await subscribe(leader, "?promise=5s", headers="Origin: http://elsewhere.example\r\nSec-Fetch-Site: cross-site\r\n")
    assert (await page.event())[1]["valid_for_ms"] == 0


async def test_one_election_of_several(two: Rig) -> None:
    both, one = await subscribe(two), await subscribe(two, "?election=invoices")
    assert [(await both.event())[1]["election"] for _ in range(2)] == ["daily-report", "invoices"]
    assert (await one.event())[1]["election"] == "invoices"
    two.board.publish(snapshot(following(index=18), following("invoices", index=6, leader="pod-z")))
    assert (await one.event())[:1] == ("leader_changed",)


@pytest.mark.parametrize(
    ("query", "status"), [("?election=nope", 404), ("?x=1", 400), ("?promise=soon", 400), ("?election=a&election=b", 400)]
)
async def test_refusals(leader: Rig, query: str, status: int) -> None:
    assert (await leader.ask(f"/v1/events{query}")).problem()["status"] == status


async def test_what_was_missed_is_replayed_without_validity(leader: Rig) -> None:
    stream = await subscribe(leader)
    _, _, seen = await stream.event()
    leader.board.publish(snapshot(following(index=18)))
    await stream.event()
    leader.board.publish(snapshot(leading(index=19)))
    await stream.event()
    for again in (await subscribe(leader, headers=f"Last-Event-ID: {seen}\r\n"), await subscribe(leader, f"?since={seen}")):
        kind, datum, newest = await again.event()
        assert (kind, datum["leader"]) == ("state", True)
        missed = [await again.event() for _ in range(2)]
        assert [kind for kind, _, _ in missed] == ["lost", "acquired"]
        for _, datum, _ in missed:
            assert datum["replayed"] is True
            assert not {"leader", "valid_for_ms", "valid_until_boottime_ns"} & set(datum)
        assert missed[-1][2] == newest


@pytest.mark.parametrize("since", ["nonsense", "0000-1", "-", "9" * 300])
async def test_an_id_of_another_life_is_no_error(leader: Rig, since: str) -> None:
    assert (await (await subscribe(leader, f"?since={since}")).event())[0] == "state"


@pytest.mark.usefixtures("often")
async def test_a_reader_that_does_not_read_delays_nobody_and_gets_the_latest(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        stuck, awake = await subscribe(rig, listener="socket"), await subscribe(rig)
        stuck.wire.writer.transport.pause_reading()
        await awake.event()
        feed = rig.surfaces.routes._feed
        index = 17
        async with asyncio.timeout(PATIENCE_S):
            while not any(each.stuck for each in feed._subscribers):
                index += 1
                rig.board.publish(snapshot(leading(index=index) if index % 2 else following(index=index)))
                while (await awake.event())[1]["index"] != index:
                    pass
        index += 1
        rig.board.publish(snapshot(following(index=index, leader="pod-last")))
        while (await awake.event())[1]["index"] != index:
            pass
        stuck.wire.writer.transport.resume_reading()
        kind, datum, _ = await stuck.event()
        while datum["index"] != index:
            kind, datum, _ = await stuck.event()
        assert (kind, datum["leader_instance"]) == ("state", "pod-last")


@pytest.mark.usefixtures("often")
async def test_who_never_reads_is_given_up(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        stuck = await subscribe(rig, listener="socket")
        stuck.wire.writer.transport.pause_reading()
        feed = rig.surfaces.routes._feed
        async with asyncio.timeout(PATIENCE_S):
            while not any(each.stuck for each in feed._subscribers):
                rig.board.publish(snapshot(following(index=5, leader="x" * 200)))
                await asyncio.sleep(0)
                rig.board.publish(snapshot(leading(index=6)))
                await asyncio.sleep(0)
            rig.clock.boot_s += feeds.STUCK_S + 1
            while len(feed) or rig.surfaces.connections:
                await asyncio.sleep(0)


async def test_what_a_subscriber_sends_is_not_read_as_requests(leader: Rig) -> None:
    stream = await subscribe(leader)
    await stream.event()
    stream.wire.send(b"GET /is-leader HTTP/1.1\r\nHost: localhost\r\n\r\n")
    leader.board.publish(snapshot(following(index=18)))
    assert (await stream.event())[0] == "lost"
    stream.wire.send(b"x" * 200_000)
    assert b"HTTP/1.1" not in await stream.wire.rest()


async def test_head_and_the_end(leader: Rig) -> None:
    reply = await leader.ask("/v1/events", method="HEAD")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    stream = await subscribe(leader)
    await stream.event()
    await leader.surfaces.stop()
    assert await stream.wire.rest() == b""


@pytest.mark.parametrize(("granted_s", "ttl_s"), [(4.0, 4.0), (None, Timing().ttl_s)])
async def test_each_third_of_the_ttl_has_a_tick_though_timers_are_late(leader: Rig, granted_s: float | None, ttl_s: float) -> None:
    """The ttl that the store has granted: ZooKeeper may grant less than was asked for."""
    leader.board.publish(snapshot(leading(), session_ttl_s=granted_s))
    assert 0.0 < leader.view.tick_s <= 0.8 * ttl_s / 3


async def test_a_session_of_a_shorter_ttl_is_told_more_often_at_once(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading(), session_ttl_s=600.0)) as rig:
        stream = await subscribe(rig)
        await stream.event()
        rig.board.publish(snapshot(leading(), session_ttl_s=0.2))
        assert [(await stream.event())[0] for _ in range(3)] == ["tick"] * 3
