"""The tests' own server leaves nothing open, whenever it is closed."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.listener import listening


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A transport that is left open fails the test."""
    asyncio.run(case())
    gc.collect()


@pytest.mark.parametrize("turns", range(8))
def test_a_connection_that_comes_at_the_very_end_is_closed(turns: int) -> None:
    """Closed before, while and after the loop takes the connection."""
    with socket.socket() as client:

        async def case() -> None:
            async with listening(never) as port:
                client.connect(("127.0.0.1", port))
                for _ in range(turns):
                    await asyncio.sleep(0)

        run(case)
        client.settimeout(5.0)
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass  # it was still in the backlog


def test_what_nobody_reads_is_dropped() -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 10_000_000)

    with socket.socket() as client:

        async def case() -> None:
            async with listening(answers) as port:
                client.connect(("127.0.0.1", port))
                await asyncio.to_thread(client.recv, 1)

        run(case)


def test_a_handlers_failure_is_told() -> None:
    async def fails(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ValueError("not what was to come")

    with socket.socket() as client:

        async def case() -> None:
            async with listening(fails) as port:
                client.connect(("127.0.0.1", port))
                assert await asyncio.to_thread(client.recv, 1) == b""

        with pytest.raises(ValueError, match="not what was to come"):
            run(case)
