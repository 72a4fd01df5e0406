"""How many may stay, and what the others are told; and the descriptors that no client gets."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from leaderd.surfaces import descriptors
from leaderd.surfaces.http import pool as pool_module
from leaderd.surfaces.http.places import LIMITS, Limits, descriptor
from tests.surfaces.grpc_rig import GrpcRig
from tests.surfaces.rig import PATIENCE_S, Reply, Rig, Wire, leading, snapshot

EVENTS = "/v1/events"
HOLD = "/v1/elections/daily-report/hold"
BY_KIND = pytest.mark.parametrize(("path", "kind"), [(EVENTS, "events"), (HOLD, "hold")])


async def stream(rig: Rig, path: str, listener: str = "app") -> tuple[int, Wire]:
    """Its status, and its connection, which stays open."""
    wire = await rig.connect(listener)
    wire.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return (await wire.reply()).status, wire


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


def full(reply: Reply) -> str:
    assert reply.status == 503
    assert reply.headers["retry-after"].isdecimal()
    return str(reply.problem()["detail"])


@BY_KIND
async def test_a_share_is_a_listeners_or_a_users(leader: Rig, monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setitem(LIMITS, kind, Limits(together=10, each=2, ops=1))
    opened = [await stream(leader, path, listener) for listener in ("app", "app", "socket", "socket")]
    assert [status for status, _ in opened] == [200] * 4
    assert "app has its 2 streams" in full(await leader.ask(path))
    assert f"user {os.getuid()} has its 2" in full(await leader.ask(path, "socket"))
    assert (await leader.ask("/is-leader")).status == 200
    opened[0][1].close()
    await until(lambda: len(leader.surfaces._pool._streams) == 3)
    assert (await stream(leader, path))[0] == 200


async def test_the_ops_listener_has_its_own_and_takes_none_of_the_others(leader: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "events", Limits(together=2, each=2, ops=3))
    assert [(await stream(leader, EVENTS, "ops"))[0] for _ in range(3)] == [200] * 3
    assert "ops has its 3" in full(await leader.ask(EVENTS, "ops"))
    assert [(await stream(leader, EVENTS))[0] for _ in range(2)] == [200] * 2


@BY_KIND
async def test_all_of_a_host_together_have_a_limit(leader: Rig, monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setitem(LIMITS, kind, Limits(together=3, each=2, ops=1))
    for listener in ("app", "app", "socket"):
        assert (await stream(leader, path, listener))[0] == 200
    assert "there are 3 streams" in full(await leader.ask(path, "socket"))


async def test_a_refused_hold_promises_nothing(leader: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "hold", Limits(together=0, each=0, ops=0))
    full(await leader.ask(HOLD))
    assert leader.promised() == []


def test_a_thousand_subscribers_of_one_app_and_others_beside_them() -> None:
    """What users are told (docs/http.md), and that it fits into the descriptors we ask for."""
    events, hold = LIMITS["events"], LIMITS["hold"]
    assert events.each >= 1000
    assert events.together - events.each >= 256
    assert hold.each < hold.together
    assert events.ops <= events.each / 8
    grpc = 3 * 256
    streams = events.together + events.ops + hold.together
    assert streams + pool_module.MAX_CONNECTIONS + grpc + descriptors.RESERVE + descriptors.SHORT < descriptors.WANTED


# ---- descriptors


def limit_files(monkeypatch: pytest.MonkeyPatch, most: float) -> None:
    monkeypatch.setattr(descriptors, "_limit", lambda: most)


async def test_scarce_descriptors_are_for_those_who_ask_and_go(leader: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    status, wire = await stream(leader, EVENTS)
    assert status == 200
    limit_files(monkeypatch, highest_fd(leader) + descriptors.RESERVE + descriptors.SHORT)
    assert "no more files" in full(await leader.ask(EVENTS))
    assert (await leader.ask("/is-leader")).status == 200
    wire.close()


def highest_fd(rig: Rig) -> int:
    """The highest number that a connection has."""
    return max(descriptor(each) for each in (*rig.surfaces._pool._connections, *rig.surfaces._pool._streams))


async def test_of_the_reserve_clients_have_a_few_at_a_time(leader: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_files(monkeypatch, 0.0)
    pool = leader.surfaces._pool
    for _ in range(3 * pool_module.MAX_IN_RESERVE):
        await leader.connect()
        pool.tick += 1
        reply = await leader.ask("/is-leader", "socket")
        assert reply.status == 200
        assert leader.surfaces.connections <= pool_module.MAX_IN_RESERVE
    for wire in leader.wires:
        wire.close()
    await until(lambda: not pool._in_reserve)


@pytest.mark.parametrize(
    ("soft", "hard", "becomes", "warned"),
    [
        (1024, 524288, descriptors.WANTED, False),
        (1024, 4096, 4096, False),
        (1024, resource.RLIM_INFINITY, descriptors.WANTED, False),
        (1024, 1024, None, True),
        (100_000, 524288, None, False),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, False),
        (64, 64, None, True),
    ],
)
def test_the_limit_is_raised_as_far_as_it_is_of_use(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int, hard: int, becomes: int | None, warned: bool
) -> None:
    set_to: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: set_to.append(limits))
    with caplog.at_level(logging.WARNING, "leaderd"):
        descriptors.raise_limit()
    assert set_to == ([] if becomes is None else [(becomes, hard)])
    assert bool(caplog.records) is warned


async def test_grpc_has_none_of_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = GrpcRig(tmp_path, snapshot(leading()))
    await rig.open()
    try:
        limit_files(monkeypatch, 0.0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rig.get()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        limit_files(monkeypatch, 1e6)
        async with asyncio.timeout(PATIENCE_S):
            while len(rig.surface.doorman):
                await asyncio.sleep(0)
    finally:
        await rig.close()
