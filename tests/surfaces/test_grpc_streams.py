"""Streams: the latest wins, a held term ends when it ends, and health flips at the deadline by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from leaderd.election.problems import Reason
from leaderd.election.state import Phase, State, Term
from leaderd.surfaces.grpc._proto import leaderd_health_subset_pb2 as health_pb
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.surfaces.grpc_rig import grpc_surface, refusal
from tests.surfaces.rig import PATIENCE_S, following, leading, snapshot

SERVING, NOT_SERVING = health_pb.HealthCheckResponse.SERVING, health_pb.HealthCheckResponse.NOT_SERVING
UNKNOWN_SERVICE = health_pb.HealthCheckResponse.SERVICE_UNKNOWN
DRAINING = following(resting=State.DRAINING, reason=Reason.DRAINING, index=18)


# ---- watching


async def test_how_things_stand_and_then_what_changes(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.watch()
        first = await stream.next()
        assert (first.kind, first.election.token, first.election.valid_for_ms) == (pb.CHANGE_KIND_STATE, 42, 1000)
        for now, kind in [
            (snapshot(following(index=18)), pb.CHANGE_KIND_LOST),
            (snapshot(following(index=19, leader="pod-c")), pb.CHANGE_KIND_LEADER_CHANGED),
            (snapshot(following(index=19, leader="pod-c"), connected=False), pb.CHANGE_KIND_STORE),
            (snapshot(following(index=20, resting=State.PAUSED, reason=Reason.PAUSED)), pb.CHANGE_KIND_PAUSED),
            (snapshot(leading(index=21)), pb.CHANGE_KIND_ACQUIRED),
            (snapshot(leading(index=22, silent=True)), pb.CHANGE_KIND_STATE),
        ]:
            rig.board.publish(now)
            assert (await stream.next()).kind == kind


async def test_renewals_are_no_news_but_ticks_carry_them(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(), session_ttl_s=1.0)) as rig:
        stream = rig.watch(promise=Duration(seconds=60))
        assert (await stream.next()).election.valid_for_ms == 7312
        rig.board.publish(snapshot(leading(term=Term(42, 95.0, 109.0)), session_ttl_s=1.0))
        rig.clock.boot_s = 100.32  # a third of the ttl has not passed yet
        tick = await stream.next()
        assert (tick.kind, tick.election.valid_for_ms) == (pb.CHANGE_KIND_TICK, 8680)


async def test_ticks_follow_the_ttl_that_the_store_has_granted(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(), session_ttl_s=60.0)) as rig:
        stream = rig.watch()
        await stream.next()
        rig.clock.boot_s = 101.3
        rig.board.publish(snapshot(leading(), session_ttl_s=4.0))
        assert (await stream.next()).kind == pb.CHANGE_KIND_TICK


async def test_a_watcher_hears_of_the_deadline_though_nothing_is_published(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(term=Term(42, 95.0, 100.01)))) as rig:
        stream = rig.watch()
        assert (await stream.next()).election.leader
        rig.clock.boot_s = 100.01
        lost = await stream.next()
        assert (lost.kind, lost.election.leader, lost.election.reason) == (pb.CHANGE_KIND_LOST, False, "lease_expired")


async def test_a_mere_look_promises_nothing(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        await rig.watch(promise=Duration()).next()
        assert max(rig.promised()) == 100.0


async def test_a_watcher_that_does_not_read_gets_the_latest_and_delays_nobody(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stuck, other = rig.watch(), rig.watch()
        await stuck.next()
        await other.next()
        for index in range(18, 4018):
            rig.board.publish(snapshot(following(index=index, leader=f"pod-{index}-" + "x" * 200)))
            if index % 100 == 0:
                while (await other.next()).election.index != index:
                    pass
        # What grpc and the kernel had room for is older; it is not all that happened.
        heard = [(await stuck.next()).election.index]
        while heard[-1] != 4017:
            heard.append((await stuck.next()).election.index)
        assert heard == sorted(set(heard))


async def test_who_goes_leaves_nothing_behind(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        streams = [rig.watch(), rig.hold(), rig.health("leader/daily-report")]
        for stream in streams:
            await stream.next()
        assert rig.surface.streams == 3
        for stream in streams:
            stream.call.cancel()
        await rig.no_streams_left()


async def test_the_daemons_end_is_told(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        watch, hold, health = rig.watch(), rig.hold(), rig.health("leader/daily-report")
        for stream in (watch, hold, health):
            await stream.next()
        await rig.surface.stop()
        assert (await refusal(watch.next()))[0] is grpc.StatusCode.UNAVAILABLE
        assert [(await hold.next()).phase, (await hold.next()).phase] == [pb.HOLD_PHASE_ENDING, pb.HOLD_PHASE_ENDED]
        assert await hold.next() is None


# ---- holding


async def test_a_term_is_held_as_long_as_it_lasts(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.hold()
        held = await stream.next()
        assert (held.phase, held.token, held.valid_for_ms) == (pb.HOLD_PHASE_HELD, 42, 1000)
        assert held.valid_until_boottime_ns == held.election.valid_until_boottime_ns == 101_000_000_000
        rig.clock.boot_s = 100.4
        rig.board.publish(rig.board.snapshot)
        more = await stream.next()
        assert (more.phase, more.valid_until_boottime_ns) == (pb.HOLD_PHASE_EXTENDED, 101_400_000_000)
        rig.board.publish(snapshot(DRAINING))
        ending = await stream.next()
        assert (ending.phase, ending.valid_until_boottime_ns) == (pb.HOLD_PHASE_ENDING, 101_400_000_000)
        assert (ending.valid_for_ms, ending.election.reason) == (1000, "draining")
        # I10: what was told is what the ledger holds the release back for.
        assert rig.ledgers["daily-report"].until_s == 101.4
        rig.clock.boot_s = 101.4
        rig.board.publish(snapshot(DRAINING))
        ended = await stream.next()
        assert (ended.phase, ended.valid_for_ms) == (pb.HOLD_PHASE_ENDED, 0)
        assert await stream.next() is None
        assert await stream.code() is grpc.StatusCode.OK
        # Nothing was promised that could not be given back.
        assert max(rig.promised()) <= 101.4


async def test_a_promise_beyond_the_lease_follows_the_lease(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.hold(promise=Duration(seconds=3600))
        assert (await stream.next()).valid_until_boottime_ns == 107_312_000_000
        rig.clock.boot_s = 103.0
        rig.board.publish(snapshot(leading(term=Term(42, 95.0, 111.0))))
        assert (await stream.next()).valid_until_boottime_ns == 111_000_000_000
        rig.clock.boot_s = 110.9  # the store is silent, and little is left
        rig.board.publish(snapshot(leading(silent=True, index=18, term=Term(42, 95.0, 111.0))))
        rig.board.publish(snapshot(leading(index=19, term=Term(42, 95.0, 111.05))))
        assert (await stream.next()).valid_until_boottime_ns == 111_050_000_000


async def test_a_holder_that_leaves_gives_its_promise_back(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        given = asyncio.Event()
        rig.board.on_given_back = given.set
        stream = rig.hold(promise=Duration(seconds=5))
        await stream.next()
        assert rig.ledgers["daily-report"].until_s == 105.0
        rig.board.publish(snapshot(following(phase=Phase.RELEASING, resting=State.DRAINING, reason=Reason.DRAINING, index=18)))
        stream.call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await given.wait()
        assert rig.ledgers["daily-report"].until_s <= 100.0


async def test_a_fixed_promise_is_given_once(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.hold(fixed=True)
        await stream.next()
        rig.clock.boot_s = 105.0
        rig.board.publish(snapshot(leading(term=Term(42, 95.0, 113.0))))
        rig.board.publish(snapshot(DRAINING))
        ended = await stream.next()
        assert (ended.phase, ended.valid_until_boottime_ns) == (pb.HOLD_PHASE_ENDED, 101_000_000_000)


@pytest.mark.parametrize("now", [leading(term=Term(77, 101.0, 112.0), index=19), following(index=18)])
async def test_another_term_is_not_the_held_one(tmp_path: Path, now: Any) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.hold()
        await stream.next()
        rig.clock.boot_s = 102.0
        rig.board.publish(snapshot(now))
        ended = await stream.next()
        assert (ended.phase, ended.token) == (pb.HOLD_PHASE_ENDED, 42)
        assert await stream.next() is None


async def test_a_held_term_ends_at_the_deadline_though_nothing_is_published(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(term=Term(42, 95.0, 100.02)))) as rig:
        stream = rig.hold()
        await stream.next()
        rig.clock.boot_s = 100.02
        assert (await stream.next()).phase == pb.HOLD_PHASE_ENDED
        assert await stream.next() is None


async def test_extensions_come_by_themselves(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.hold(promise=Duration(nanos=60_000_000))
        await stream.next()
        for step in range(1, 4):
            rig.clock.boot_s = 100.0 + 0.03 * step
            assert (await stream.next()).phase == pb.HOLD_PHASE_EXTENDED


REFUSED = [
    (following(), {}, grpc.StatusCode.FAILED_PRECONDITION, "not leading daily-report: other_leader; the leader is pod-b"),
    (leading(), {"token": 41}, grpc.StatusCode.FAILED_PRECONDITION, "other_term"),
    (leading(), {"min_valid": Duration(seconds=9)}, grpc.StatusCode.FAILED_PRECONDITION, "min_valid_unmet"),
    (leading(), {"promise": Duration()}, grpc.StatusCode.INVALID_ARGUMENT, "without a promise"),
    (leading(), {"election": "x"}, grpc.StatusCode.NOT_FOUND, "does not stand in 'x'"),
]


@pytest.mark.parametrize(("view", "fields", "code", "text"), REFUSED)
async def test_what_cannot_be_held(tmp_path: Path, view: Any, fields: dict[str, Any], code: Any, text: str) -> None:
    async with grpc_surface(tmp_path, snapshot(view)) as rig:
        found, detail = await refusal(rig.hold(**fields).next())
        assert found is code
        assert text in detail


# ---- health


async def test_leader_serves_only_while_leading(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(), following("invoices"))) as rig:
        assert await rig.check("") == SERVING
        assert await rig.check("leader/daily-report") == SERVING
        assert await rig.check("leader/invoices") == NOT_SERVING
        for name in ("leader/nothing", "leader/", "daily-report"):
            assert (await refusal(rig.check(name)))[0] is grpc.StatusCode.NOT_FOUND
        # A stored flag would still say SERVING: nothing was published.
        rig.clock.boot_s = 107.312
        assert await rig.check("leader/daily-report") == NOT_SERVING
        assert max(rig.promised()) <= 107.312


async def test_a_clock_jump_is_no_leader(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        rig.clock.jumps = 1
        assert await rig.check("leader/daily-report") == NOT_SERVING


async def test_health_flips_at_the_deadline_by_itself(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(term=Term(42, 95.0, 100.02)))) as rig:
        stream = rig.health("leader/daily-report")
        assert (await stream.next()).status == SERVING
        rig.clock.boot_s = 100.02
        assert (await stream.next()).status == NOT_SERVING
        rig.board.publish(snapshot(leading(index=18)))
        assert (await stream.next()).status == SERVING


async def test_unknown_services_are_watched_in_vain(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream, daemon = rig.health("leader/nothing"), rig.health("")
        assert (await stream.next()).status == UNKNOWN_SERVICE
        assert (await daemon.next()).status == SERVING
        rig.board.publish(snapshot(DRAINING, draining=True))
        assert (await daemon.next()).status == NOT_SERVING


async def test_a_client_without_any_stub_follows_the_leader(tmp_path: Path) -> None:
    """grpc's own client-side health checking, switched on by a service configuration: the channel is ready only while we lead."""
    config = '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "leader/daily-report"}}'
    async with grpc_surface(tmp_path, snapshot(following())) as rig:
        channel = grpc.aio.insecure_channel(rig.target, options=[("grpc.service_config", config)])
        async with channel, asyncio.timeout(PATIENCE_S):
            await reaches(channel, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            rig.board.publish(snapshot(leading(index=18)))
            await reaches(channel, grpc.ChannelConnectivity.READY)
            rig.board.publish(snapshot(following(index=19)))
            await reaches(channel, grpc.ChannelConnectivity.TRANSIENT_FAILURE)


async def reaches(channel: grpc.aio.Channel, wanted: grpc.ChannelConnectivity) -> None:
    while (state := channel.get_state(try_to_connect=True)) is not wanted:
        await channel.wait_for_state_change(state)


async def test_bytes_are_all_that_a_health_watcher_needs(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        request = b"\x0a\x13leader/daily-report"
        call = rig.channel.unary_stream("/grpc.health.v1.Health/Watch")(request)
        async with asyncio.timeout(PATIENCE_S):
            assert await call.read() == b"\x08\x01"
            rig.board.publish(snapshot(following(index=18)))
            assert await call.read() == b"\x08\x02"
