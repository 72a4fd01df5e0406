"""The proxy as a process: `python -m chaos.proxy.server CONTROL NAME=HOST:PORT...`, a listener on 127.0.0.1 for each upstream.

The control socket takes one JSON line a request: `{"add": {toxic}}`, `{"lift": n}`, `{"seen": n}`, `{"in_force": n}`,
`{"replied": true}` or `{"ports": true}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import struct
import sys
from dataclasses import dataclass, field
from functools import partial

import msgspec

from chaos.proxy.toxics import Toxic

_REPLIES, _REQUESTS = "replies", "requests"
_SLICE_PAUSE_S = 0.0005
_LONGEST_REQUEST = 512
"""As much as a pattern for requests has to see at once."""


@dataclass(eq=False)
class Connection:
    """One client's, and ours to the server in its name."""

    upstream: str
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lossy: bool = False
    """Bytes are missing: no TCP would deliver the rest."""
    closing: set[int] = field(default_factory=set)
    """Toxics whose request has passed: its answer ends the connection."""
    asked: set[int] = field(default_factory=set)
    """Toxics whose kind of request has passed."""
    tail: bytes = b""
    """The end of what was requested last: a request may come in pieces."""
    passed: int = 0
    due_s: dict[int, float] = field(default_factory=dict)
    """By writer: when the last piece that is delayed is due."""
    held: list[tuple[int, asyncio.StreamWriter, bytes]] = field(default_factory=list)

    def late(self, writer: asyncio.StreamWriter, data: bytes, delay_s: float) -> None:
        """Deliver later, in order: a long way, not a narrow one."""
        loop = asyncio.get_running_loop()
        due_s = max(loop.time() + delay_s, self.due_s.get(id(writer), 0.0) + 1e-5)
        self.due_s[id(writer)] = due_s
        loop.call_at(due_s, writer.write, data)

    def reset(self) -> None:
        """End it as a crash would: both sides see a reset."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """All upstreams of one pod, and the toxics in force."""

    def __init__(self, upstreams: dict[str, tuple[str, int]]) -> None:
        self._upstreams = upstreams
        self._patterns: dict[int, re.Pattern[bytes]] = {}
        self._used: dict[int, int] = {}
        self.replied = 0
        """How many bytes of answers have been passed on."""
        self._toxics: dict[int, Toxic] = {}
        self._seen: dict[int, int] = {}
        self._numbers = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Listen."""
        for name in self._upstreams:
            listener = await asyncio.start_server(partial(self._accept, name), "127.0.0.1", 0)
            self._listeners.append(listener)
            self.ports[name] = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self._connections):
            connection.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- toxics

    def add(self, toxic: Toxic) -> int:
        """In force from now on, for what passes and for connections that exist."""
        self._numbers += 1
        self._toxics[self._numbers] = toxic
        self._seen[self._numbers] = 0
        if toxic.request:
            self._patterns[self._numbers] = re.compile(toxic.request.encode("latin-1"), re.DOTALL)
        if toxic.kind == "reset":
            self._reset(self._numbers, toxic)
        return self._numbers

    def _reset(self, number: int, toxic: Toxic) -> None:
        if number not in self._toxics:
            return
        for connection in self._concerned(toxic):
            self._seen[number] += 1
            connection.reset()
        if toxic.ms:
            asyncio.get_running_loop().call_later(toxic.ms / 1000, self._reset, number, toxic)

    def lift(self, number: int) -> None:
        """No more of it. What was held is delivered, and what has lost bytes is reset."""
        toxic = self._toxics.pop(number, None)
        if toxic is None:
            return
        for connection in tuple(self._connections):
            for _, writer, data in [held for held in connection.held if held[0] == number]:
                writer.write(data)
            connection.held = [held for held in connection.held if held[0] != number]
            if connection.lossy and toxic.kind == "swallow":
                connection.reset()

    def in_force(self, number: int) -> bool:
        """Whether it has not been lifted."""
        return number in self._toxics

    def seen(self, number: int) -> int:
        """How often it has acted."""
        return self._seen.get(number, 0)

    def _concerned(self, toxic: Toxic) -> list[Connection]:
        return [each for each in self._connections if toxic.upstream in ("", each.upstream)]

    # ---- the plumbing

    async def _accept(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(name, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resetting = [number for number, toxic in self._toxics.items() if toxic.refuses(name)]
        if resetting:
            for number in resetting:
                self._seen[number] += 1
            Connection(name, writer, writer).reset()
            return
        back, there = await asyncio.open_connection(*self._upstreams[name])
        connection = Connection(name, writer, there)
        self._connections.add(connection)
        pumps = [
            asyncio.create_task(self._pump(connection, _REQUESTS, reader, there)),
            asyncio.create_task(self._pump(connection, _REPLIES, back, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._connections.discard(connection)
            there.transport.abort()

    async def _pump(
        self, connection: Connection, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            size = 0
            if direction == _REQUESTS:
                self._look_for_requests(connection, data)
            for number, toxic in tuple(self._toxics.items()):
                if not toxic.concerns(connection.upstream, direction) and toxic.kind != "close":
                    continue
                if toxic.request and number not in connection.asked:
                    continue
                if self._takes(number, toxic, connection, direction, writer, data):
                    break
                if toxic.kind == "delay":
                    self._seen[number] += 1
                    await asyncio.sleep(max(0.0, toxic.ms + random.uniform(-1, 1) * toxic.jitter_ms) / 1000)
                elif toxic.kind == "slice":
                    self._seen[number] += 1
                    size = toxic.size
            else:
                await _write(writer, data, size)
                self.replied += len(data) if direction == _REPLIES else 0

    def _look_for_requests(self, connection: Connection, data: bytes) -> None:
        """Before it is passed on, so that no answer is there yet."""
        seen = connection.tail + data
        connection.tail = seen[-_LONGEST_REQUEST:]
        for number, pattern in self._patterns.items():
            toxic = self._toxics.get(number)
            if toxic is None or number in connection.asked or toxic.upstream not in ("", connection.upstream):
                continue
            if (not toxic.times or self._used.get(number, 0) < toxic.times) and pattern.search(seen):
                self._used[number] = self._used.get(number, 0) + 1
                connection.asked.add(number)

    def _takes(
        self, number: int, toxic: Toxic, connection: Connection, direction: str, writer: asyncio.StreamWriter, data: bytes
    ) -> bool:
        """Whether a toxic keeps what came."""
        match toxic.kind:
            case "swallow":
                connection.lossy = True
            case "hold":
                connection.held.append((number, writer, data))
            case "truncate" if direction == _REPLIES and connection.passed + len(data) > toxic.size:
                writer.write(data[: max(0, toxic.size - connection.passed)])
                asyncio.get_running_loop().call_later(0.01, connection.reset)
            case "truncate":
                connection.passed += len(data) if direction == _REPLIES else 0
                return False
            case "close" if direction == _REQUESTS and toxic.upstream in ("", connection.upstream):
                connection.closing.add(number)
                return False
            case "close" if direction == _REPLIES and number in connection.closing:
                connection.reset()
            case _:
                return False
        self._seen[number] += 1
        return True


async def _write(writer: asyncio.StreamWriter, data: bytes, size: int) -> None:
    if not size:
        writer.write(data)
        await writer.drain()
        return
    for at in range(0, len(data), size):
        writer.write(data[at : at + size])
        await writer.drain()
        await asyncio.sleep(_SLICE_PAUSE_S if at % (64 * size) == 0 else 0)


async def _main(control: str, upstreams: dict[str, tuple[str, int]]) -> None:
    proxy = Proxy(upstreams)
    await proxy.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            request = msgspec.json.decode(line)
            answer: object = None
            if "add" in request:
                answer = proxy.add(msgspec.convert(request["add"], Toxic))
            elif "lift" in request:
                proxy.lift(request["lift"])
            elif "seen" in request:
                answer = proxy.seen(request["seen"])
            elif "in_force" in request:
                answer = proxy.in_force(request["in_force"])
            elif "replied" in request:
                answer = proxy.replied
            else:
                answer = proxy.ports
            writer.write(msgspec.json.encode(answer) + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(serve, control + ".new")
    os.rename(control + ".new", control)  # there when it answers, and not before
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    control, *rest = sys.argv[1:]
    upstreams: dict[str, tuple[str, int]] = {}
    for each in rest:
        name, _, address = each.partition("=")
        host, _, port = address.rpartition(":")
        upstreams[name] = (host, int(port))
    asyncio.run(_main(control, upstreams))


if __name__ == "__main__":
    main()
