"""HTTP/1.1 towards Consul's agents: what is an answer, however it is cut; what is refused; when a connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderd.stores.consul.http1 import (
    MAX_BODY,
    MAX_HEAD,
    BrokenError,
    Connection,
    NotHttpError,
    Response,
    TooLongError,
    _Reader,
    connect,
)
from tests.listener import listening

PLAIN = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
WHOLE = {PLAIN: b"hello", CHUNKED: b"hello world", INTERIM: b"hello", EMPTY: b""}


def read(*pieces: bytes) -> tuple[Response | None, _Reader]:
    reader, found = _Reader(), None
    for piece in pieces:
        assert found is None
        found = reader.feed(piece)
    return found, reader


@pytest.mark.parametrize("said", WHOLE)
@given(data=st.data())
def test_an_answer_is_the_same_however_it_is_cut(said: bytes, data: st.DataObject) -> None:
    at = data.draw(st.lists(st.integers(0, len(said) - 1), max_size=6).map(sorted))
    found, reader = read(*(said[a:b] for a, b in zip([0, *at], [*at, len(said)], strict=True)))
    assert found is not None
    assert found.body == WHOLE[said]
    assert reader.reusable


def test_headers_are_known_by_their_lower_case_names() -> None:
    found, _ = read(PLAIN)
    assert found is not None
    assert (found.status, found.phrase, found.headers[b"x-consul-index"]) == (200, "OK", b"7")


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSpace : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 300,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    ],
)
def test_what_is_no_answer(said: bytes) -> None:
    with pytest.raises(NotHttpError):
        read(said)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + 2 * (b"%x\r\n" % (MAX_BODY // 2 + 1) + b"x" * (MAX_BODY // 2 + 1) + b"\r\n"),
    ],
)
def test_an_endless_answer_is_not_waited_for(said: bytes) -> None:
    with pytest.raises(TooLongError):
        read(said)


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for said in (data, PLAIN[:16] + data, CHUNKED[:47] + data):
        reader = _Reader()
        try:
            reader.feed(said)
            reader.end()
        except (NotHttpError, TooLongError):
            pass


# ---- connections


@asynccontextmanager
async def talking(*answers: bytes) -> AsyncIterator[tuple[Connection, list[bytes], asyncio.Event]]:
    """A connection to a server that says `answers`, one to each request, then closes; what it was asked; that it is over."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for said in answers:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(said)
                await writer.drain()
            async with asyncio.timeout(5.0):
                await over.wait()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async with listening(serve) as port:
        connection = await connect("127.0.0.1", port, None, 2.0)
        try:
            yield connection, asked, over
        finally:
            over.set()
            connection.close()


ASK = b"GET / HTTP/1.1\r\n\r\n"


async def test_a_connection_is_used_again() -> None:
    async with talking(PLAIN, CHUNKED) as (connection, asked, _):
        assert (await connection.ask(ASK)).body == b"hello"
        assert connection.usable
        assert (await connection.ask(ASK)).body == b"hello world"
        assert len(asked) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        PLAIN + PLAIN,
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(said: bytes) -> None:
    async with talking(said) as (connection, _, _over):
        assert (await connection.ask(ASK)).status == 200
        assert not connection.usable


async def test_an_answer_may_end_with_its_connection() -> None:
    async with talking(b"HTTP/1.1 200 OK\r\n\r\nall of it") as (connection, _, over):
        asyncio.get_running_loop().call_later(0.05, over.set)
        assert (await connection.ask(ASK)).body == b"all of it"
        assert not connection.usable


async def test_an_abandoned_request_closes_its_connection() -> None:
    """Its answer may still come, and must not be taken for the next one's."""
    async with talking(b"") as (connection, _, _over):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.ask(ASK)
        assert not connection.usable


async def test_words_that_nobody_asked_for_close_a_connection() -> None:
    async with talking(PLAIN) as (connection, _, _over):
        await connection.ask(ASK)
        connection.get_buffer(-1)[: len(PLAIN)] = PLAIN
        connection.buffer_updated(len(PLAIN))
        assert not connection.usable


async def test_a_connection_closed_under_a_request_breaks_it() -> None:
    async with talking(PLAIN[:30]) as (connection, _, over):
        asyncio.get_running_loop().call_later(0.05, over.set)
        with pytest.raises(BrokenError):
            await connection.ask(ASK)
        assert not connection.usable
