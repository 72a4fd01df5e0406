"""A gRPC client that sends exactly the frames it is told to, and answers nothing by itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tests.surfaces.rig import PATIENCE_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 0x1, 0x4
CANCEL, PROTOCOL_ERROR = 8, 1


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def header(name: str, value: str) -> bytes:
    return b"\0" + b"".join(len(each).to_bytes(1) + each.encode() for each in (name, value))


def headers(method: str, *more: tuple[str, str], authority: str = "localhost") -> bytes:
    """The header block of a call."""
    pseudo = ((":method", "POST"), (":scheme", "http"), (":path", method), (":authority", authority))
    usual = (("te", "trailers"), ("content-type", "application/grpc"))
    return b"".join(header(*each) for each in (*pseudo, *usual, *more))


def call(stream: int, method: str, request: Any, *more: tuple[str, str]) -> bytes:
    """One call: its headers and its only message."""
    data = request.SerializeToString()
    return frame(HEADERS, END_HEADERS, stream, headers(method, *more)) + frame(
        DATA, END_STREAM, stream, b"\0" + len(data).to_bytes(4) + data
    )


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


class RawClient:
    """One connection; greeted by both sides."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str | tuple[str, int]) -> RawClient:
        opened = asyncio.open_unix_connection(address) if isinstance(address, str) else asyncio.open_connection(*address)
        client = cls(*await opened)
        client.send(PREFACE + frame(SETTINGS))
        return client

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def next(self, kind: int) -> tuple[int, bytes]:
        """The next frame of a kind: its stream and what it carries."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3]))
                if head[3] == kind:
                    return int.from_bytes(head[5:]), payload

    async def end(self) -> None:
        """Read until the other side closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
