"""The tests' own server leaves nothing open, whenever it is closed."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from tests.listener import listening


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("turns", range(8))
def test_a_connection_that_comes_at_the_very_end_is_closed(turns: int) -> None:
    """Closed before, while and after the loop takes the connection; a transport that is left open fails the case."""
    with socket.socket() as client:

        async def case() -> None:
            async with listening(never) as port:
                client.connect(("127.0.0.1", port))
                for _ in range(turns):
                    await asyncio.sleep(0)

        asyncio.run(case())
        gc.collect()
        client.settimeout(5.0)
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass  # it was still in the backlog
