"""The proxy's toxics, each against a server that answers what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from chaos.proxy.server import Proxy
from chaos.proxy.toxics import Toxic
from tests.listener import listening

PATIENCE_S = 5.0


class Echo:
    """A server that answers each line with the same in capitals."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for line in reader:
                self.asked.append(line)
                writer.write(line.upper())
        except ConnectionError:
            pass
        writer.close()


class Place:
    """An echo server behind a proxy, and clients of it."""

    def __init__(self, proxy: Proxy, echo: Echo) -> None:
        self.proxy, self.echo = proxy, echo
        self._writers: list[asyncio.StreamWriter] = []

    async def client(self, name: str = "s1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.ports[name])
        self._writers.append(writer)
        return reader, writer

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    echo = Echo()
    async with listening(echo.serve) as port:
        proxy = Proxy({"s1": ("127.0.0.1", port), "s2": ("127.0.0.1", port)})
        await proxy.start()
        found = Place(proxy, echo)
        yield found
        found.close()
        await proxy.stop()


async def answer(reader: asyncio.StreamReader, size: int = 100) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await reader.read(size)


async def test_without_toxics_everything_passes(place):
    reader, writer = await place.client()
    writer.write(b"one\n")
    assert await answer(reader) == b"ONE\n"


async def test_swallowed_replies_are_carried_out_and_the_connection_is_reset_when_lifted(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("swallow", "replies"))
    writer.write(b"one\n")
    await place.until(lambda: place.proxy.seen(number))
    assert place.echo.asked == [b"one\n"]
    place.proxy.lift(number)
    with pytest.raises(ConnectionResetError):
        await answer(reader)


async def test_swallowed_requests_reach_nobody(place):
    _, writer = await place.client()
    number = place.proxy.add(Toxic("swallow", "requests"))
    writer.write(b"one\n")
    await place.until(lambda: place.proxy.seen(number))
    assert place.echo.asked == []


async def test_held_replies_come_when_lifted(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("hold", "replies"))
    writer.write(b"one\n")
    await place.until(lambda: place.proxy.seen(number))
    place.proxy.lift(number)
    assert await answer(reader) == b"ONE\n"


async def test_slices_are_whole_in_the_end(place):
    reader, writer = await place.client()
    place.proxy.add(Toxic("slice", "replies", size=1))
    writer.write(b"a longer line\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readline() == b"A LONGER LINE\n"


async def test_a_delay_keeps_the_order(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("delay", "replies", ms=5, jitter_ms=5))
    for line in (b"one\n", b"two\n"):
        writer.write(line)
    async with asyncio.timeout(PATIENCE_S):
        assert [await reader.readline() for _ in range(2)] == [b"ONE\n", b"TWO\n"]
    assert place.proxy.seen(number)


async def test_truncated_after_so_many_bytes(place):
    reader, writer = await place.client()
    place.proxy.add(Toxic("truncate", "replies", size=6))
    writer.write(b"one\n")
    assert await answer(reader, 4) == b"ONE\n"
    writer.write(b"two\n")
    assert await answer(reader) == b"TW"
    with pytest.raises(ConnectionResetError):
        await answer(reader)


async def test_closed_when_the_answer_comes(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("close"))
    writer.write(b"one\n")
    with pytest.raises(ConnectionResetError):
        await answer(reader)
    assert place.echo.asked == [b"one\n"]
    assert place.proxy.seen(number) == 1


async def test_reset_now_and_later(place):
    reader, writer = await place.client()
    writer.write(b"one\n")
    await answer(reader)
    number = place.proxy.add(Toxic("reset"))
    with pytest.raises(ConnectionResetError):
        await answer(reader)
    again, _ = await place.client()
    with pytest.raises(ConnectionResetError):
        await answer(again)
    assert place.proxy.seen(number) == 2
    place.proxy.lift(number)
    reader, writer = await place.client()
    writer.write(b"two\n")
    assert await answer(reader) == b"TWO\n"


async def test_of_one_upstream_only(place):
    number = place.proxy.add(Toxic("swallow", "both", "s2"))
    reader, writer = await place.client("s1")
    writer.write(b"one\n")
    assert await answer(reader) == b"ONE\n"
    assert place.proxy.seen(number) == 0


async def test_only_the_answer_to_a_request_of_that_kind_is_lost(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("swallow", "replies", request="cr[e]ate", times=1))
    writer.write(b"look\n")
    assert await answer(reader) == b"LOOK\n"
    assert place.proxy.seen(number) == 0
    writer.write(b"create\n")
    await place.until(lambda: place.proxy.seen(number))
    assert place.echo.asked == [b"look\n", b"create\n"], "it was carried out"
    again, writer = await place.client()
    writer.write(b"create\n")
    assert await answer(again) == b"CREATE\n", "once is enough"
    place.proxy.lift(number)
    with pytest.raises(ConnectionResetError):
        await answer(reader)


async def test_a_request_may_come_in_pieces(place):
    _, writer = await place.client()
    number = place.proxy.add(Toxic("hold", "replies", request="create"))
    for piece in (b"cre", b"ate", b"\n"):
        writer.write(piece)
        await place.until(lambda piece=piece: any(each.tail.endswith(piece) for each in place.proxy._connections))
    await place.until(lambda: place.proxy.seen(number))


async def test_closed_at_the_answer_to_that_request_and_no_other(place):
    reader, writer = await place.client()
    number = place.proxy.add(Toxic("close", request="create"))
    writer.write(b"open\n")
    assert await answer(reader) == b"OPEN\n"
    assert place.proxy.seen(number) == 0
    writer.write(b"create\n")
    with pytest.raises(ConnectionResetError):
        await answer(reader)
    assert place.proxy.seen(number) == 1


async def test_reset_again_and_again_with_time_between(place):
    number = place.proxy.add(Toxic("reset", ms=30))
    answered = 0
    while place.proxy.seen(number) < 3:
        reader, writer = await place.client()
        writer.write(b"one\n")
        with contextlib.suppress(ConnectionResetError):
            answered += await answer(reader) == b"ONE\n"
            await answer(reader)
    assert answered, "new connections are taken"
    place.proxy.lift(number)
    reader, writer = await place.client()
    writer.write(b"two\n")
    assert await answer(reader) == b"TWO\n"


async def test_what_has_passed_is_counted_and_what_was_kept_back_is_not(place):
    reader, writer = await place.client()
    writer.write(b"one\n")
    await answer(reader)
    assert place.proxy.replied == 4
    number = place.proxy.add(Toxic("hold", "replies"))
    assert place.proxy.in_force(number)
    writer.write(b"two\n")
    await place.until(lambda: place.proxy.seen(number))
    assert place.proxy.replied == 4
    place.proxy.lift(number)
    assert not place.proxy.in_force(number)


async def test_lifting_again_is_no_error(place):
    number = place.proxy.add(Toxic("hold"))
    place.proxy.lift(number)
    place.proxy.lift(number)
