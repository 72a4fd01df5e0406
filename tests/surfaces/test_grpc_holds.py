"""Who ends a held term: only the client's own word gives a promise back; whatever cuts it off leaves the promise to lapse (I10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from leaderd.surfaces.grpc import doorman, server
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.surfaces import raw_grpc as raw
from tests.surfaces.grpc_rig import HEALTH, MEANT, SERVICE, GrpcRig, grpc_surface, refusal
from tests.surfaces.raw_grpc import RawClient
from tests.surfaces.rig import PATIENCE_S, leading, snapshot

HOLD = f"{SERVICE}HoldTerm"
SEVEN = pb.HoldTermRequest(promise=Duration(seconds=7))
UNTIL_S = 107.0
NOW_S = 100.0
"""What the ledger says when nothing is promised any more, since a mere look is a promise until now."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping at once, and little patience: what takes 40 s in earnest. Named before `rig`, and only where silence is the matter:
    no client here answers a ping, so on a busy machine any other end could be this one."""
    quick = {
        "grpc.keepalive_time_ms": 1000,
        "grpc.keepalive_timeout_ms": 100,
        "grpc.http2.ping_timeout_ms": 100,
    }
    monkeypatch.setattr(server, "_OPTIONS", tuple({**dict(server._OPTIONS), **quick}.items()))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GrpcRig]:
    async with grpc_surface(tmp_path, snapshot(leading())) as made:
        yield made


async def holder(rig: GrpcRig, *more: tuple[str, str], stream: int = 1) -> RawClient:
    """A client that holds the term, by its stream 1."""
    client = await RawClient.connect(rig.surface.address)
    client.send(raw.call(stream, HOLD, SEVEN, *more))
    assert (await client.next(raw.DATA))[0] == stream
    assert rig.ledgers["daily-report"].until_s == UNTIL_S
    return client


async def cancel(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.reset(1))


async def cancel_and_leave(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.reset(1))
    client.writer.close()


async def cancel_in_pieces(rig: GrpcRig, client: RawClient) -> None:
    for byte in raw.frame(raw.PING, payload=bytes(8)) + raw.reset(1):
        client.send(bytes((byte,)))
        await client.writer.drain()
        await rig.check("")


async def be_shed(rig: GrpcRig, client: RawClient) -> None:
    next(guest for guest in rig.surface.doorman._guests if guest.holds).abort()


async def die(rig: GrpcRig, client: RawClient) -> None:
    client.writer.transport.abort()  # with what it has not read: a reset


async def close(rig: GrpcRig, client: RawClient) -> None:
    client.writer.close()


async def end_its_side(rig: GrpcRig, client: RawClient) -> None:
    client.writer.write_eof()


async def ping_too_often(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.frame(raw.PING, payload=bytes(8)) * 10)


async def break_the_protocol(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.frame(raw.RST_STREAM, 0, 1, b"\0" * 7))


async def give_up_on_an_error(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.reset(1, raw.PROTOCOL_ERROR))


async def cancel_another(rig: GrpcRig, client: RawClient) -> None:
    client.send(raw.call(3, f"{SERVICE}WatchElection", pb.WatchElectionRequest()))
    await client.next(raw.DATA)
    client.send(raw.reset(3))
    client.writer.close()


End = Callable[[GrpcRig, RawClient], Awaitable[None]]
ENDS: list[tuple[End, bool]] = [
    (cancel, True),
    (cancel_and_leave, True),
    (cancel_in_pieces, True),
    (be_shed, False),
    (die, False),
    (close, False),
    (end_its_side, False),
    (ping_too_often, False),
    (break_the_protocol, False),
    (give_up_on_an_error, False),
    (cancel_another, False),
]


@pytest.mark.parametrize(("end", "given_back"), ENDS, ids=lambda value: getattr(value, "__name__", ""))
async def test_only_the_client_gives_a_promise_back(rig: GrpcRig, end: End, given_back: bool) -> None:
    client = await holder(rig)
    await end(rig, client)
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == (NOW_S if given_back else UNTIL_S)
    assert not rig.ledgers["daily-report"]._held
    await client.close()


async def test_who_does_not_answer_a_ping_gives_nothing_back(impatient: None, rig: GrpcRig) -> None:
    client = await holder(rig)
    await client.end()
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == UNTIL_S
    await client.close()


async def test_a_real_client_gives_it_back_by_cancelling(rig: GrpcRig) -> None:
    stream = rig.stream(HOLD, SEVEN, pb.HoldTermResponse)
    await stream.next()
    assert rig.ledgers["daily-report"].until_s == UNTIL_S
    stream.call.cancel()
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == NOW_S


async def test_a_deadline_is_nobodys_word(rig: GrpcRig) -> None:
    """The client's library ends the call at its deadline; the app may be busy, and has been promised something."""
    call = rig.channel.unary_stream(HOLD)(SEVEN.SerializeToString(), timeout=0.5)
    assert await call.read()
    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
        await call.read()
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == UNTIL_S


async def test_who_is_elsewhere_gives_nothing_back(rig: GrpcRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cancels a call may be a proxy between us."""
    monkeypatch.setattr(doorman, "_caller_of", lambda transport: doorman.STRANGER)
    client = await RawClient.connect(rig.surface.address)
    client.send(raw.call(1, HOLD, SEVEN))
    await client.next(raw.DATA)
    client.send(raw.reset(1))
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == 101.0  # the usual promise
    await client.close()


async def test_the_number_of_a_stream_is_ours_to_say(rig: GrpcRig) -> None:
    client = await holder(rig, ("x-leaderd-stream", "3"))
    client.send(raw.call(3, f"{SERVICE}WatchElection", pb.WatchElectionRequest()))
    await client.next(raw.DATA)
    client.send(raw.reset(3))
    client.writer.close()
    await rig.no_streams_left()
    assert rig.ledgers["daily-report"].until_s == UNTIL_S


# ---- making room


@asynccontextmanager
async def crowd(rig: GrpcRig, count: int) -> AsyncIterator[None]:
    """Others, who say nothing. They leave whatever becomes of the test: those it left open would be the next one's error."""
    async with AsyncExitStack() as leaving:
        for _ in range(count):
            other = RawClient(*await asyncio.open_unix_connection(rig.surface.address))
            leaving.push_async_callback(other.close)
        yield


async def test_who_holds_a_term_is_not_shed(rig: GrpcRig, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = rig.stream(HOLD, SEVEN, pb.HoldTermResponse)
    await stream.next()
    for _ in range(3):
        async with crowd(rig, doorman.MAX_CONNECTIONS_PER_UID + 7):
            assert await rig.check("") == 1
            assert rig.surface.streams == 1
    # The same where nobody knows whose they are.
    monkeypatch.setattr(doorman, "_caller_of", lambda transport: doorman.Caller(loopback=True))
    async with crowd(rig, doorman.MAX_CONNECTIONS + 7):
        assert await rig.check("") == 1
        assert rig.surface.streams == 1
        assert len(rig.surface.doorman) <= doorman.MAX_CONNECTIONS
        rig.clock.boot_s = 101.0
        rig.board.publish(rig.board.snapshot)
        stream.call.cancel()
        await rig.no_streams_left()
        assert rig.ledgers["daily-report"].until_s <= rig.clock.boot_s


async def test_holders_leave_room_for_those_who_ask(rig: GrpcRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "MAX_HOLDERS_PER_UID", 2)
    monkeypatch.setattr(doorman, "MAX_CONNECTIONS_PER_UID", 4)
    holders = [await holder(rig), await holder(rig)]
    code, text = await refusal(rig.hold().next())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "use one for several" in text
    holders[0].send(raw.call(3, HOLD, SEVEN))  # a second one over a connection that holds one already
    assert (await holders[0].next(raw.DATA))[0] == 3
    holders[1].send(raw.reset(1))
    async with asyncio.timeout(PATIENCE_S):
        while rig.surface.streams > 2:
            await asyncio.sleep(0)
    await rig.hold().next()
    await rig.call(f"{SERVICE}Resign", pb.ResignRequest(), MEANT)
    for each in holders:
        await each.close()


async def test_whoever_was_silent_longest_makes_room(rig: GrpcRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "MAX_CONNECTIONS_PER_UID", 3)
    first, second, third = [await RawClient.connect(rig.surface.address) for _ in range(3)]
    for each in (first, third):
        await each.next(raw.SETTINGS)
        each.send(raw.call(1, f"{HEALTH}Check", pb.ListElectionsRequest()))
        await each.next(raw.DATA)
    late = await RawClient.connect(rig.surface.address)
    await second.end()
    await second.close()
    for each in (first, third, late):
        each.send(raw.call(5, f"{HEALTH}Check", pb.ListElectionsRequest()))
        assert (await each.next(raw.DATA))[0] == 5
        await each.close()
