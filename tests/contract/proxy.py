"""A TCP proxy that misbehaves on request: one listener in front of one server, faults per direction.

The faults, after toxiproxy's menu and Curator's ChaosMonkey: swallow replies (the request is carried out, the answer never
comes), hold replies (it comes late), close after a request (it is carried out, then the connection dies), silence (both ways,
nothing says so), refuse (reset now, refused later).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field, replace

from leaderd.stores.address import StoreAddress
from tests.listener import Listener


@dataclass(eq=False)
class _Pair:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    held: list[bytes] = field(default_factory=list)

    def reset(self) -> None:
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """See the module. All methods take effect at once, on connections that exist and on those to come."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = Listener(self._accept)
        self._pairs: set[_Pair] = set()
        self.connections = 0
        self._swallow = False
        self._hold = False
        self._silent = False
        self._refuse = False
        self._close_after: bytes | None = None
        self._swallow_from: bytes | None = None

    async def start(self) -> None:
        await self._listener.start()

    @property
    def port(self) -> int:
        return self._listener.port

    def address(self, direct: StoreAddress) -> StoreAddress:
        return replace(direct, hosts=(("127.0.0.1", self.port),))

    # ---- faults

    def swallow(self) -> None:
        """Requests pass; replies vanish."""
        self._swallow = True

    def swallow_from(self, needle: bytes) -> None:
        """Replies vanish from the next request on that contains `needle`."""
        self._swallow_from = needle

    def hold(self) -> None:
        """Requests pass; replies wait for `release`."""
        self._hold = True

    def release(self) -> None:
        """Deliver what was held."""
        self._hold = False
        for pair in self._pairs:
            for data in pair.held:
                pair.client.write(data)
            pair.held.clear()

    def close_after(self, needle: bytes) -> None:
        """Once: pass the next request that contains `needle` on, then kill its connection before the answer."""
        self._close_after = needle

    def silence(self) -> None:
        """Nothing passes, in either direction; connections stay up, new ones are accepted."""
        self._silent = True

    def reset(self) -> None:
        """Reset every connection that exists."""
        for pair in tuple(self._pairs):
            pair.reset()

    def refuse(self) -> None:
        """Reset every connection, and every new one."""
        self._refuse = True
        self.reset()

    def heal(self) -> None:
        """End every fault. Connections that have lost data are reset: no TCP would deliver the rest."""
        if self._swallow or self._silent:
            self.reset()
        self._swallow = self._silent = self._refuse = False
        self._close_after = self._swallow_from = None
        self.release()

    async def aclose(self) -> None:
        self.reset()
        await self._listener.aclose()

    # ---- the plumbing

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse:
            _Pair(writer, writer).reset()
            return
        upstream_reader, upstream = await asyncio.open_connection(*self._upstream)
        pair = _Pair(writer, upstream)
        self._pairs.add(pair)
        try:
            there = asyncio.create_task(self._requests(reader, pair))
            back = asyncio.create_task(self._replies(upstream_reader, pair))
            try:
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            self._pairs.discard(pair)
            upstream.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while data := await reader.read(65536):
            if self._silent:
                continue
            if self._swallow_from is not None and self._swallow_from in data:
                self._swallow, self._swallow_from = True, None
            pair.server.write(data)
            await pair.server.drain()
            if self._close_after is not None and self._close_after in data:
                self._close_after = None
                # The server's answer proves that it was carried out; it goes no further.
                pair.client.transport.pause_reading()
                self._swallow_until_closed(pair)

    def _swallow_until_closed(self, pair: _Pair) -> None:
        asyncio.get_running_loop().call_later(0.2, pair.reset)
        pair.held = _Void()

    async def _replies(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while data := await reader.read(65536):
            if self._silent or self._swallow:
                continue
            if self._hold or isinstance(pair.held, _Void):
                pair.held.append(data)
            else:
                pair.client.write(data)
                await pair.client.drain()


class _Void(list[bytes]):
    """A list that keeps nothing."""

    def append(self, item: bytes) -> None:
        del item
