"""Servers of another kind than the one that was expected, as far as a stranger gets to know them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.listener import listening

SAYS = {
    "ZooKeeper": b"Zookeeper version: 3.8.0\n",
    "HTTP": b"HTTP/1.0 404 Not Found\r\n\r\n",
    "SSH": b"SSH-2.0-x\r\n",
}


@asynccontextmanager
async def stranger(tongue: str) -> AsyncIterator[tuple[str, int]]:
    """Host and port of a server that speaks `tongue` ("" for none: it takes everything and says nothing)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if tongue == "ZooKeeper":
                if await reader.readexactly(4) == b"srvr":
                    writer.write(SAYS[tongue])
                    await writer.drain()
            elif tongue == "HTTP":
                if (await reader.readline()).startswith(b"GET "):
                    writer.write(SAYS[tongue])
                    await writer.drain()
            elif tongue:
                writer.write(SAYS[tongue])
                await reader.read()
            else:
                await reader.read()
        except (OSError, EOFError, ValueError):
            pass
        finally:
            writer.transport.abort() if not tongue else writer.close()

    async with listening(serve) as port:
        yield "127.0.0.1", port
