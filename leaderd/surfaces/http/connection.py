"""One connection: bytes in, heads parsed one at a time, answers out; bounded in memory, time and share of the loop.

An app, a probe or an attacker on any listener gets one answer per turn of the event loop at once; whatever it pipelines behind
that waits for its turn in the pool's queue, and so does every answer that costs milliseconds. So a flood costs requests, and never
the renewals that go through the same loop.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, cast

from leaderd.surfaces.http.reply import Response, as_bytes, problem
from leaderd.surfaces.http.stream import Stream
from leaderd.surfaces.http.wire import MAX_HEAD_BYTES, SAFE_METHODS, Refusal, Request, fault_in_part, parse_head, too_large

if TYPE_CHECKING:
    from leaderd.surfaces.http.pool import Pool
    from leaderd.surfaces.http.routes import Route

    Waiting = tuple[Request, Route | None, str | None]
    """A parsed request with its route and the election named in its path."""

_MAX_DISCARDED_BYTES = 65536
_STREAM_BUFFER_BYTES = 16 * 1024
_HEAD_END = b"\r\n\r\n"


class Phase(enum.IntEnum):
    """What the connection is waiting for; each has its own limit in time."""

    HEAD = 0
    """The rest of a head, from the accept or from its first byte on."""
    BODY = 1
    """The rest of a body."""
    IDLE = 2
    """The next request."""
    QUEUED = 3
    """Its turn."""
    PARKED = 4
    """The election it asks about to change, or its wait to be over."""
    ACTING = 5
    """What it asked for to be done."""
    STALLED = 6
    """The peer to read its answers."""
    LINGERING = 7
    """The peer to stop sending, after the last answer: closing earlier would destroy that answer on its way."""
    CLOSING = 8
    """The last answer to leave."""
    STREAMING = 9
    """Nothing: events are written as they come, until one side closes."""


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one accepted connection."""

    __slots__ = (
        "_discarded",
        "_head",
        "_pool",
        "_request",
        "_rest",
        "_streaming",
        "from_loopback",
        "listener",
        "local_address",
        "phase",
        "since",
        "transport",
        "uid",
        "waiting",
    )

    def __init__(self, pool: Pool, listener: str) -> None:
        self._pool = pool
        self.listener = listener
        self.transport: asyncio.Transport | None = None
        self.phase = Phase.HEAD
        self.since = pool.tick
        self.local_address: str | None = None
        self.from_loopback = False
        self.uid: int | None = None
        self.waiting: Waiting | None = None
        self._rest = b""
        self._head = b""
        self._request: Request | None = None
        self._discarded = 0
        self._streaming: Stream | None = None

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place in the pool, which may have to make one first."""
        self.transport = cast("asyncio.Transport", transport)
        self._pool.admit(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """All connections read into one buffer, one after the other; what is left of it is copied."""
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.phase >= Phase.LINGERING:
            self._discarded += nbytes
            if self._discarded > _MAX_DISCARDED_BYTES:
                self.abort()
            return
        data = bytes(self._pool.buffer[:nbytes])
        self._rest = self._rest + data if self._rest else data
        if self.phase <= Phase.IDLE:
            self.turn(at_once=True)

    def eof_received(self) -> bool:
        """The peer sends no more; what it asked before is still answered."""
        return self.phase in {Phase.QUEUED, Phase.PARKED, Phase.ACTING, Phase.STALLED}

    def pause_writing(self) -> None:
        """The peer does not read its answers: it gets no more of them."""
        if self._streaming is not None:
            self._streaming.paused()
        if self.phase < Phase.LINGERING:
            self._enter(Phase.STALLED)
            self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._streaming is not None:
            self._streaming.resumed()
        if self.phase is Phase.STALLED:
            self._wait_or_queue()

    def connection_lost(self, exc: Exception | None) -> None:
        """Over."""
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.gone(_closed_by_peer(self, exc))
        self.transport = None
        self.phase = Phase.CLOSING
        self._pool.leave(self)

    # ---- work

    def turn(self, *, at_once: bool = False) -> bool:
        """Answer one request, if there is a complete one. `at_once`: not from the queue, so nothing heavy. True if it was heavy."""
        waiting, self.waiting = self.waiting, None
        try:
            waiting = waiting or self._next()
            if waiting is None:
                return False
            request, route, election = waiting
            if request.has_body and request.method in SAFE_METHODS:
                raise Refusal(413, f"{request.method} takes no body here")
            if request.has_body and route is not None and request.method in route.changes and not self._read_body(waiting):
                return False
            heavy = route is not None and route.heavy
            if heavy and at_once:
                self.waiting = waiting
                self._queue()
                return False
            response = self._pool.answer(self, request, route, election)
            if response.wait is not None:
                self.waiting = waiting
                self._enter(Phase.PARKED)
                self._pause()
                self._pool.park(self, response.wait)
                return False
            if response.work is not None:
                self.waiting = waiting
                self._enter(Phase.ACTING)
                self._pause()
                self._pool.act(self, response.work)
                return False
            self._send(request, route, response)
        except Refusal as refusal:
            self._refuse(refusal, waiting)
            return False
        except Exception as error:  # noqa: BLE001 - a fault in answering costs this connection its answer, which is a no
            self._refuse(Refusal(500, "internal error"), waiting, error)
            return False
        return heavy

    def turn_from_queue(self) -> bool:
        """The pool gives it a turn; True if that was a heavy one."""
        if self.phase is not Phase.QUEUED or self.transport is None:
            return False
        self._enter(Phase.HEAD)
        heavy = self.turn()
        if self.phase <= Phase.IDLE:
            self._resume()
        return heavy

    def unpark(self) -> None:
        """Its wait is over: it is answered when its turn comes."""
        if self.phase is Phase.PARKED and self.waiting is not None:
            self.waiting[0].waited = True
            self._queue()

    def acted(self, response: Response) -> None:
        """What it asked for has been done, or refused."""
        if self.phase is not Phase.ACTING or self.waiting is None:
            return
        (request, route, _), self.waiting = self.waiting, None
        self._send(request, route, response)
        if not self._rest:
            self._resume()

    def time_is_up(self) -> None:
        """The limit of the present phase has passed."""
        if self.phase is Phase.BODY or (self.phase is Phase.HEAD and self._rest):
            what = "head" if self.phase is Phase.HEAD else "body"
            refusal = Refusal(408, f"the {what} of the request took longer than 2 s")
            self._pool.note_refusal(self, 408, refusal.detail)
            self.write(as_bytes(problem(refusal), self._pool.date(), 1, False, False))
            self.close()
        elif self.phase <= Phase.IDLE:
            self.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Close without further words."""
        self.phase = Phase.CLOSING
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close when what was written has left."""
        if self.transport is not None and not self.transport.is_closing():
            self._enter(Phase.CLOSING)
            self.transport.close()

    # ---- inside

    def _refuse(self, refusal: Refusal, waiting: Waiting | None, error: BaseException | None = None) -> None:
        """Say what is wrong, and speak no more with this peer."""
        self._pool.note_refusal(
            self, refusal.status, refusal.detail if error is None else f"{type(error).__name__}: {error}", error
        )
        head_only = waiting is not None and waiting[0].method == "HEAD"
        self.write(as_bytes(problem(refusal), self._pool.date(), 1, False, head_only))
        self._finish(linger=True)

    def _read_body(self, waiting: Waiting) -> bool:
        """Whether the body is there; if not, it waits. Raises `Refusal`, for who may not ask this before anything is read."""
        request = waiting[0]
        length = request.body_length()
        if self.phase is not Phase.BODY:
            self._pool.check(self, request, waiting[1])
            if request.minor == 1 and "expect" in request.headers and len(self._rest) < length:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._enter(Phase.BODY)
        if len(self._rest) < length:
            self.waiting = waiting
            return False
        request.body, self._rest = self._rest[:length], self._rest[length:]
        return True

    def _next(self) -> Waiting | None:
        """The next complete request and its route. Raises `Refusal`."""
        rest = self._rest
        if not rest:
            self._enter(Phase.IDLE)
            return None
        end = rest.find(_HEAD_END, 0, MAX_HEAD_BYTES + 4)
        if end < 0:
            if self.phase is not Phase.HEAD:
                self._enter(Phase.HEAD)
            refusal = fault_in_part(rest)
            if refusal is not None:
                raise refusal
            return None
        if end > MAX_HEAD_BYTES:
            raise too_large(rest)
        head, self._rest = rest[:end], rest[end + 4 :]
        request = self._request
        if request is None or head != self._head:
            # An app asks the same thing again and again, in the same bytes.
            request = parse_head(head)
            self._head, self._request = head, request
        request.waited, request.body = False, None
        route, election = self._pool.find(request.path)
        return request, route, election

    def _send(self, request: Request, route: Route | None, response: Response) -> None:
        unread = request.has_body and request.body is None
        keep = request.keep_alive and not unread
        self._pool.count(route.name if route is not None else "none", response.status, self.listener)
        if response.stream is not None and route is not None:
            self._stream(request, route, response)
            return
        self._enter(Phase.IDLE)
        self.write(as_bytes(response, self._pool.date(), request.minor, keep, request.method == "HEAD"))
        if not keep:
            self._finish(linger=unread or bool(self._rest))
        elif self.phase is Phase.IDLE and self._rest:
            self._wait_or_queue()

    def _stream(self, request: Request, route: Route, response: Response) -> None:
        """Answer with the head of a stream; whatever the peer sends from now on is not read as requests."""
        stream, transport = response.stream, self.transport
        assert stream is not None
        self._rest = b""
        self.write(as_bytes(response, self._pool.date(), request.minor, False, False))
        if request.method == "HEAD" or transport is None or transport.is_closing():
            stream.gone(by_peer=True)  # it has been told nothing
            self._finish(linger=False)
            return
        self._enter(Phase.STREAMING)
        transport.set_write_buffer_limits(high=_STREAM_BUFFER_BYTES)
        self._streaming = stream
        self._pool.stream(self, route.streams)
        stream.open(self)

    def write(self, data: bytes) -> None:
        """Write to the peer."""
        if self.transport is not None:
            self.transport.write(data)

    def _wait_or_queue(self) -> None:
        if self.waiting is not None or self._rest:
            self._queue()
        else:
            self._enter(Phase.IDLE)
            self._resume()

    def _queue(self) -> None:
        self._enter(Phase.QUEUED)
        self._pause()
        self._pool.enqueue(self)

    def _finish(self, *, linger: bool) -> None:
        self._rest = b""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if linger and transport.can_write_eof():
            self._enter(Phase.LINGERING)
            transport.write_eof()
            self._resume()
        else:
            self.close()

    def _pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._pool.tick


def _closed_by_peer(stream: Connection, exc: Exception | None) -> bool:
    """Whether it was the peer that closed a stream, for certain: on this host, where nothing between us can do it, and not we."""
    here = stream.local_address is None or stream.from_loopback
    reset = isinstance(exc, ConnectionResetError | BrokenPipeError)  # it had not read everything when it closed
    return stream.phase is Phase.STREAMING and here and (exc is None or reset)
