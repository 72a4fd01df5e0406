"""A TCP server for tests whose connections end with it, all of them.

asyncio's own cancels no handler, and one that is cancelled before its first step never comes to its `finally`: the connection that
was accepted at the very end of a case stays open, and is found as a leak by whichever case runs when it is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Serves every connection to a port of loopback with `handler`, and closes it when the handler is done."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._over = False
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Listen no longer; connections that exist go on."""
        assert self._server is not None
        self._server.close()

    async def aclose(self) -> None:
        """Listen no longer, cancel every handler, and drop what was served. Raises what a handler has raised."""
        self._over = True
        if self._server is not None:
            for sock in self._server.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            # In three turns what has been accepted gets its transport, is handed to us and dropped; a closed server gives it none.
            for _ in range(3):
                await asyncio.sleep(0)
            self._server.close()
        for task in self._tasks:
            task.cancel()
        raised = [each for each in await asyncio.gather(*self._tasks, return_exceptions=True) if isinstance(each, Exception)]
        for writer in self._writers:  # also what a handler has left to be sent, and nobody reads
            writer.transport.abort()
        await asyncio.sleep(0)
        if raised:
            raise raised[0]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._over:
            writer.transport.abort()
            return
        self._writers.append(writer)
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handler(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def listening(handler: Handler, port: int = 0) -> AsyncIterator[int]:
    """The port that is served with `handler` meanwhile."""
    listener = Listener(handler)
    await listener.start(port)
    try:
        yield listener.port
    finally:
        await listener.aclose()
