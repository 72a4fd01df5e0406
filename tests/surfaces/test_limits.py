"""Limits in time, number and share of the loop: slow, idle, silent and greedy peers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leaderd.surfaces.http import pool as pool_module
from leaderd.surfaces.http.connection import Connection, Phase
from leaderd.surfaces.http.pool import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_UID
from tests.surfaces.rig import PATIENCE_S, Rig, leading, snapshot, surfaces

GET = b"GET /is-leader HTTP/1.1\r\nHost: localhost\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Ticks of 10 ms: 25 times as hasty as in life."""
    monkeypatch.setattr(pool_module, "TICK_S", 0.01)
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        yield rig


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


def pool_of(rig: Rig) -> Any:
    return rig.surfaces._pool


# ---- time


async def test_slow_heads_are_closed_within_two_and_a_half_seconds(leader: Rig) -> None:
    """In real time, as it is shipped: silent, half a head, one byte now and then, half a head after an answer."""
    start_s = time.monotonic()
    silent, half, dripping, later = [await leader.connect(name) for name in ("app", "ops", "socket", "app")]
    half.send(b"GET /is-leader HTTP/1.1\r\nHost: local")
    later.send(GET)
    assert (await later.reply()).status == 200
    later.send(b"GET /is-l")

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /is-leader HTTP/1.1\r\nX: " + b"y" * 8000:
                dripping.send(bytes((byte,)))
                await dripping.writer.drain()
                await asyncio.wait({ended}, timeout=0.05)
                if ended.done():
                    return

    ended = asyncio.create_task(dripping.rest())
    dripper = asyncio.create_task(drip())
    assert await silent.rest() == b""
    for wire in (half, later):
        assert (await wire.reply()).problem()["status"] == 408
        assert await wire.rest() == b""
    assert b" 408 " in await ended
    took_s = time.monotonic() - start_s
    await dripper
    assert 1.9 < took_s < 2.5
    assert leader.promised() == [101.0]
    await until(lambda: leader.surfaces.connections == 0)


async def test_an_idle_connection_is_kept_for_a_while_and_then_closed(hasty: Rig) -> None:
    wire = await hasty.connect()
    wire.send(GET)
    await wire.reply()
    pool = pool_of(hasty)
    started = pool.tick
    assert await wire.rest() == b""
    assert 118 <= pool.tick - started <= 125


async def test_a_peer_that_does_not_read_is_dropped(hasty: Rig) -> None:
    wire = await hasty.connect("socket")
    wire.reader._limit = 1  # type: ignore[attr-defined]  # so that asyncio stops reading for us, too
    wire.send(SCRAPE * 200)
    await until(lambda: any(c.phase is Phase.STALLED for c in pool_of(hasty)._connections))
    await until(lambda: hasty.surfaces.connections == 0)


@pytest.mark.parametrize("listener", ["app", "socket"])
async def test_a_peer_that_reads_late_gets_all_of_its_answers(leader: Rig, listener: str) -> None:
    wire = await leader.connect(listener)
    wire.reader._limit = 1  # type: ignore[attr-defined]
    count = 1000
    wire.send(SCRAPE * count)
    await until(lambda: any(c.phase is Phase.STALLED for c in pool_of(leader)._connections))
    wire.reader._limit = 65536  # type: ignore[attr-defined]
    for _ in range(count):
        assert (await wire.reply()).status == 200
    wire.send(GET)
    assert (await wire.reply()).status == 200


async def test_a_peer_that_sends_for_ever_after_a_refusal_is_dropped(hasty: Rig) -> None:
    wire = await hasty.connect()
    wire.send(b"\x16\x03\x01" + b"x" * 1_000_000)
    await until(lambda: hasty.surfaces.connections == 0)


async def test_a_lingering_peer_is_dropped(hasty: Rig) -> None:
    wire = await hasty.connect()
    wire.send(b"nonsense\n")
    assert (await wire.reply()).status == 400
    # It neither sends nor closes.
    await until(lambda: hasty.surfaces.connections == 0)


async def test_an_idle_daemon_is_not_woken(hasty: Rig) -> None:
    assert pool_of(hasty)._ticking is None
    await hasty.ask("/livez")
    await until(lambda: pool_of(hasty)._ticking is None)


# ---- one connection


async def test_pipelined_requests_are_answered_in_order(leader: Rig) -> None:
    wire = await leader.connect()
    targets = ["/is-leader", "/metrics", "/livez", "/v1/elections", "/nope", "/is-leader?promise=0"] * 20
    wire.send(b"".join(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for target in targets))
    statuses = [(await wire.reply()).status for _ in targets]
    assert statuses == [200, 200, 200, 200, 404, 200] * 20


async def test_endless_pipelining_costs_bounded_memory(leader: Rig) -> None:
    wire = await leader.connect()
    count = 20_000
    most = 0

    async def push() -> None:
        for _ in range(count // 100):
            wire.send(GET * 100)
            await wire.writer.drain()

    pushing = asyncio.create_task(push())
    for _ in range(count):
        assert (await wire.reply()).status == 200
        most = max(most, *(len(c._rest) for c in pool_of(leader)._connections))
    await pushing
    assert most < 64 * 1024


@pytest.mark.parametrize("cut", range(1, len(GET), 7))
async def test_a_request_in_two_pieces(leader: Rig, cut: int) -> None:
    wire = await leader.connect()
    wire.send(GET[:cut])
    await wire.writer.drain()
    await until(lambda: any(c._rest for c in pool_of(leader)._connections))
    wire.send(GET[cut:] + GET[:cut])
    assert (await wire.reply()).status == 200
    wire.send(GET[cut:])
    assert (await wire.reply()).status == 200


async def test_keep_alive_and_close(leader: Rig) -> None:
    for head, keeps in (
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", True),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", False),
        (b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n", False),
        (b"GET /livez HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", True),
    ):
        wire = await leader.connect()
        wire.send(head)
        reply = await wire.reply()
        assert reply.status == 200
        if keeps:
            assert reply.headers.get("connection", "keep-alive") == "keep-alive"
            wire.send(head)
            assert (await wire.reply()).status == 200
        else:
            assert reply.headers["connection"] == "close"
            assert await wire.rest() == b""


async def test_a_peer_that_closes_its_side_is_still_answered(leader: Rig) -> None:
    """As `printf ... | nc` does."""
    for data, answers in ((GET, 1), (SCRAPE, 1), (SCRAPE + GET + SCRAPE, 3)):
        wire = await leader.connect()
        wire.send(data)
        wire.writer.write_eof()
        assert (await wire.rest()).count(b"HTTP/1.1 200 OK") == answers


async def test_answers_to_head_have_no_body_even_when_refused(leader: Rig) -> None:
    wire = await leader.connect()
    wire.send(b"HEAD /is-leader HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert (await wire.reply(head_only=True)).status == 421
    assert await wire.rest() == b""


# ---- all connections


async def test_the_longest_idle_connection_makes_room(leader: Rig) -> None:
    first = await leader.connect()
    wires = [await leader.connect() for _ in range(MAX_CONNECTIONS - 1)]
    await until(lambda: leader.surfaces.connections == MAX_CONNECTIONS)
    pool_of(leader).tick += 1
    late = await leader.connect()
    late.send(GET)
    assert (await late.reply()).status == 200
    assert leader.surfaces.connections == MAX_CONNECTIONS
    gone = [wire for wire in (first, *wires) if wire.reader.at_eof() or wire.reader.exception() is not None]
    assert len(gone) <= 1


async def test_a_flood_on_one_listener_does_not_close_the_others(leader: Rig) -> None:
    app = await leader.connect("socket")
    app.send(GET)
    await app.reply()
    pool_of(leader).tick += 1
    for _ in range(MAX_CONNECTIONS + 50):
        await leader.connect("ops")
    await until(lambda: leader.surfaces.connections == MAX_CONNECTIONS)
    app.send(GET)
    assert (await app.reply()).status == 200


async def test_one_user_cannot_take_all_of_the_socket(leader: Rig) -> None:
    for _ in range(MAX_CONNECTIONS_PER_UID + 20):
        await leader.connect("socket")
    last = await leader.connect("socket")
    last.send(GET)
    assert (await last.reply()).status == 200
    await until(lambda: leader.surfaces.connections == MAX_CONNECTIONS_PER_UID)
    assert {c.uid for c in pool_of(leader)._connections} == {os.getuid()}


# ---- the share of the loop: with transports that only listen, so that each turn can be counted


class Sink(asyncio.Transport):
    """Takes all, says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4040) if name == "sockname" else default

    def write(self, data: Any) -> None:
        self.written += bytes(data).count(b"HTTP/1.1 200 OK")

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None: ...


def feed(rig: Rig, count: int, data: bytes) -> list[Sink]:
    pool, sinks = pool_of(rig), []
    for _ in range(count):
        connection, sink = Connection(pool, "app"), Sink()
        connection.connection_made(sink)
        pool.buffer[: len(data)] = data
        connection.buffer_updated(len(data))
        sinks.append(sink)
    return sinks


async def answers_per_pass(sinks: list[Sink]) -> list[int]:
    """How many were answered in each turn of the loop, until all are."""
    found: list[int] = []
    total = sum(sink.written for sink in sinks)
    while True:
        await asyncio.sleep(0)
        now = sum(sink.written for sink in sinks)
        if now == total:
            return found
        found.append(now - total)
        total = now


async def test_what_is_pipelined_takes_turns(leader: Rig) -> None:
    sinks = feed(leader, 50, GET * 10)
    assert [sink.written for sink in sinks] == [1] * 50
    passes = await answers_per_pass(sinks)
    assert max(passes) <= 16
    assert [sink.written for sink in sinks] == [10] * 50


async def test_one_scrape_per_turn_of_the_loop(leader: Rig) -> None:
    sinks = feed(leader, 20, SCRAPE)
    assert [sink.written for sink in sinks] == [0] * 20
    passes = await answers_per_pass(sinks)
    assert passes == [1] * 20


async def test_a_stopped_pool_lets_nobody_in_and_everybody_out(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        wires = [await rig.connect(name) for name in ("app", "ops", "socket")]
        for wire in wires:
            wire.send(GET)
            await wire.reply()
        await rig.surfaces.stop()
        for wire in wires:
            assert await wire.rest() == b""
        assert rig.surfaces.connections == 0
        with pytest.raises(OSError, match=r"refused|reset|failed"):
            await rig.connect("app")
