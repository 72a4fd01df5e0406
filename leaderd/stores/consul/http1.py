"""HTTP/1.1 as a client, as much of it as Consul's agents speak: one connection, one request at a time, one answer.

A hand-over waits for two of these exchanges, so each is one write and one read, and nothing lies between the bytes and whoever
waits for them. What a general client does besides is left out on purpose: above all nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

MAX_HEAD = 1 << 15
MAX_BODY = 1 << 24
"""Most answers are a few hundred bytes; all records of all elections at once are the exception."""
_MAX_LINE = 256
_READ = 1 << 13
_NEXT_ADDRESS_S = 0.25
"""A name with several addresses: the next one is tried beside one that says nothing (RFC 8305)."""
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 25_000))


class BrokenError(Exception):
    """The connection ended before the answer was whole."""


class NotHttpError(Exception):
    """What came is no HTTP answer."""


class TooLongError(Exception):
    """The answer is longer than `MAX_BODY`."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, its phrase, headers by lower-case name, body."""

    status: int
    phrase: str
    headers: Mapping[bytes, bytes]
    body: bytes


class _Reader:
    """One answer as it arrives."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._status: tuple[int, str] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._length: int | None = 0
        """Of the body; None: until the connection is closed."""
        self._chunked = False
        self._body = bytearray()
        self.reusable = True

    def feed(self, data: bytes | memoryview) -> Response | None:
        """Take bytes; the answer once it is whole. Raises `NotHttpError`, `TooLongError`."""
        self._data += data
        while self._status is None:
            if not self._read_head():
                return None
        if self._chunked:
            return self._read_chunks()
        if len(self._data) > MAX_BODY or (self._length or 0) > MAX_BODY:
            raise TooLongError
        if self._length is None or len(self._data) < self._length:
            return None
        return self._whole(self._data[: self._length], self._data[self._length :])

    def end(self) -> Response | None:
        """The connection ended; the answer, if that is what ends it."""
        if self._status is None or self._chunked or self._length is not None:
            return None
        return self._whole(self._data, b"")

    def _whole(self, body: bytes | bytearray, rest: bytes | bytearray) -> Response:
        assert self._status is not None
        self.reusable = self.reusable and not rest  # nobody asked for more
        return Response(*self._status, self._headers, bytes(body))

    def _read_head(self) -> bool:
        data = self._data
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise NotHttpError(f"it begins with {bytes(data[:20])!r}")
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD:
            if len(data) > MAX_HEAD:
                raise NotHttpError("its head does not end")
            return False
        first, *lines = bytes(data[:end]).split(b"\r\n")
        del data[: end + 4]
        version, _, rest = first.partition(b" ")
        code, _, phrase = rest.partition(b" ")
        if len(code) != 3 or not code.isdigit():
            raise NotHttpError("it has no status")
        status = int(code)
        if 100 <= status < 200:  # an interim answer, which nobody asked for
            return bool(data)
        headers = self._headers
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise NotHttpError("a header without a name")
            headers[name.lower()] = value.strip()
        self._frame(status, version, headers)
        self._status = status, phrase.decode("latin-1")
        return True

    def _frame(self, status: int, version: bytes, headers: Mapping[bytes, bytes]) -> None:
        said = headers.get(b"connection", b"").lower()
        self.reusable = version == b"HTTP/1.1" and said != b"close"
        coding = headers.get(b"transfer-encoding", b"").lower()
        length = headers.get(b"content-length")
        if coding:
            if coding != b"chunked" or length is not None:
                raise NotHttpError("its length is told in no known way")
            self._chunked = True
        elif length is not None:
            if not length.isdigit() or len(length) > 18:
                raise NotHttpError("its length is no number")
            self._length = int(length)
        elif status not in {204, 304}:
            self._length, self.reusable = None, False

    def _read_chunks(self) -> Response | None:
        data = self._data
        while True:
            end = data.find(b"\r\n", 0, _MAX_LINE)
            if end < 0:
                if len(data) >= _MAX_LINE:
                    raise NotHttpError("a chunk without a size")
                return None
            digits = bytes(data[:end]).split(b";")[0].strip()
            if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
                raise NotHttpError("a chunk without a size")
            size = int(digits, 16)
            if len(self._body) + size > MAX_BODY:
                raise TooLongError
            if size == 0:  # Consul sends no trailers: an empty line ends it
                if len(data) < end + 4:
                    return None
                if data[end + 2 : end + 4] != b"\r\n":
                    raise NotHttpError("trailers, which nobody asked for")
                return self._whole(self._body, data[end + 4 :])
            if len(data) < end + 4 + size:
                return None
            if data[end + 2 + size : end + 4 + size] != b"\r\n":
                raise NotHttpError("a chunk longer than it said")
            self._body += data[end + 2 : end + 2 + size]
            del data[: end + 4 + size]


class Connection(asyncio.BufferedProtocol):
    """One connection. `usable` says whether it can take a request: open, and none under way.

    It reads into a buffer of its own: left to itself asyncio maps, and gives back, a quarter of a megabyte for every read.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader: _Reader | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._buffer = memoryview(bytearray(_READ))
        self.usable = True
        self.idle_since_s = 0.0

    async def ask(self, request: bytes) -> Response:
        """Send a request and wait for its answer. Raises `BrokenError`, `NotHttpError`, `TooLongError`; abandoned half-way, the
        connection is closed."""
        transport = self._transport
        assert transport is not None
        assert self.usable
        self.usable = False
        self._reader = _Reader()
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        transport.write(request)
        try:
            return await answer
        finally:
            self._answer = None
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, even if we were cancelled at that moment
            if not self.usable:
                transport.abort()

    def close(self) -> None:
        """Close it; whoever waits for an answer is told that it broke."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # ---- the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A blocking query is silent for minutes: only probes tell a quiet server from a connection that a middlebox forgot."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            option = getattr(socket, name, None)  # Linux has all of them
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        answer, reader = self._answer, self._reader
        if answer is None or reader is None or answer.done():
            self.close()  # nothing was asked
            return
        try:
            response = reader.feed(self._buffer[:nbytes])
        except (NotHttpError, TooLongError) as error:
            answer.set_exception(error)
            return
        if response is not None:
            self.usable = reader.reusable
            answer.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.usable = False
        answer, reader = self._answer, self._reader
        if answer is None or reader is None or answer.done():
            return
        response = reader.end() if exc is None else None
        if response is not None:
            answer.set_result(response)
        else:
            answer.set_exception(BrokenError(str(exc) if exc is not None else "connection closed"))


async def connect(host: str, port: int, tls: ssl.SSLContext | None, within_s: float) -> Connection:
    """Open a connection. Raises `OSError`, `ssl.SSLError` among them; `TimeoutError` after `within_s`."""
    loop = asyncio.get_running_loop()
    # asyncio's race of addresses loses the socket when it is cancelled as it ends: not where there is one address only.
    delay_s = None if _is_address(host) else _NEXT_ADDRESS_S
    async with asyncio.timeout(within_s):
        _, connection = await loop.create_connection(Connection, host, port, ssl=tls, happy_eyeballs_delay=delay_s)
    return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
