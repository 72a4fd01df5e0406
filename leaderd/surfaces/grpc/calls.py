"""From bytes to a handler and back: parses, refuses, counts; in one place, so that no handler can show a client a traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from leaderd import log
from leaderd.metrics import Metrics
from leaderd.surfaces.grpc.doorman import Caller, Doorman, Grip
from leaderd.surfaces.grpc.frames import STREAM_HEADER

MAX_STREAMS = 1024
LISTENER = "grpc"
_MAX_DURATION_S = 366 * 86400
_LOG = logging.getLogger("leaderd.grpc")
_LOG_EVERY_S = 10.0
_HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 412,
    grpc.StatusCode.FAILED_PRECONDITION: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNIMPLEMENTED: 405,
    grpc.StatusCode.INTERNAL: 500,
}
"""Counted as HTTP would count it, so that one query over `code` covers all listeners."""
_WEB_HEADERS = frozenset({"origin", "sec-fetch-site"})
Request = TypeVar("Request", bound=Message)
Context = Any


class Refused(Exception):
    """The call is refused; the text is for whoever made it."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Call:
    """One call as its handler sees it."""

    __slots__ = ("_context", "_doorman", "_peer", "caller")

    def __init__(self, context: Context, doorman: Doorman) -> None:
        self._context = context
        self._doorman = doorman
        self._peer = context.peer()
        self.caller: Caller = doorman.caller(self._peer)

    @property
    def metadata(self) -> dict[str, str | bytes]:
        """What came with the request; of a name given twice, the last."""
        return {str(name): value for name, value in self._context.invocation_metadata() or ()}

    def grip(self) -> Grip | None:
        """Have a term held by this call; None when there are too many that do."""
        # A client's library ends a call at its deadline in the same way in which an app does: then nobody has said anything.
        stream = self.metadata.get(STREAM_HEADER, "") if self._context.time_remaining() is None else ""
        return self._doorman.grip(self._peer, int(stream) if str(stream).isdecimal() else None)

    @property
    def from_web(self) -> bool:
        """Whether it comes from a web page, by way of something that made a gRPC call of its request."""
        return not _WEB_HEADERS.isdisjoint(self.metadata)

    async def write(self, message: Message) -> None:
        """Send one message of a stream: serialized and handed to grpc before anything else can run, then waits for room."""
        await self._context.write(message.SerializeToString())


class Calls(grpc.GenericRpcHandler):
    """The methods of one server, by path."""

    def __init__(self, doorman: Callable[[], Doorman], metrics: Metrics, now_s: Callable[[], float]) -> None:
        self._doorman = doorman
        self._metrics = metrics
        self._now_s = now_s
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._streams = 0
        self._logged_at_s = float("-inf")

    @property
    def streams(self) -> int:
        """How many streams there are now."""
        return self._streams

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method of a path; None is answered UNIMPLEMENTED."""
        return self._methods.get(str(handler_call_details.method))

    def add_unary(self, path: str, kind: type[Request], handle: Callable[[Request, Call], Awaitable[Message]]) -> None:
        """Serve a method with one answer."""

        async def behaviour(data: bytes, context: Context) -> bytes:
            reply = await self._guarded(path, context, lambda call: handle(_parsed(kind, data), call))
            self._metrics.count_request(path, 200, LISTENER)
            return bytes(reply.SerializeToString())

        self._metrics.expect_requests((path,), (LISTENER,))
        self._methods[path] = grpc.unary_unary_rpc_method_handler(behaviour)

    def add_stream(self, path: str, kind: type[Request], handle: Callable[[Request, Call], Awaitable[None]]) -> None:
        """Serve a method whose answer is a stream."""

        async def limited(data: bytes, call: Call) -> None:
            if self._streams >= MAX_STREAMS:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"there are {MAX_STREAMS} streams already: try again later")
            self._streams += 1
            try:
                await handle(_parsed(kind, data), call)
            finally:
                self._streams -= 1

        async def behaviour(data: bytes, context: Context) -> None:
            await self._guarded(path, context, lambda call: limited(data, call))
            self._metrics.count_request(path, 200, LISTENER)

        self._metrics.expect_requests((path,), (LISTENER,))
        self._methods[path] = grpc.unary_stream_rpc_method_handler(behaviour)

    async def _guarded(self, path: str, context: Context, handle: Callable[[Call], Awaitable[Any]]) -> Any:  # noqa: ANN401
        try:
            return await handle(Call(context, self._doorman()))
        except Refused as refused:
            self._metrics.count_request(path, _HTTP_CODES.get(refused.code, 500), LISTENER)
            await context.abort(refused.code, refused.detail)
        except (asyncio.CancelledError, grpc.aio.BaseError):
            raise  # the client has gone
        except Exception as error:  # noqa: BLE001 - grpc would show it to the client
            self._metrics.count_request(path, 500, LISTENER)
            self._note(path, error)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error; the daemon's log has more")

    def _note(self, path: str, error: Exception) -> None:
        now_s = self._now_s()
        if now_s - self._logged_at_s >= _LOG_EVERY_S:
            self._logged_at_s = now_s
            log.event(_LOG, logging.ERROR, f"fault while answering {path}: {type(error).__name__}: {error}")
            _LOG.debug("fault while answering", exc_info=error)


def duration_s(message: Message, field: str) -> float | None:
    """A duration of a request in seconds; None when it is absent. Raises `Refused`."""
    if not message.HasField(field):
        return None
    value: Duration = getattr(message, field)
    seconds = value.seconds + value.nanos / 1e9
    if not 0 <= seconds <= _MAX_DURATION_S or not 0 <= value.nanos < 1_000_000_000:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: is no duration within 0 and a year")
    return seconds


def _parsed(kind: type[Request], data: bytes) -> Request:
    try:
        return kind.FromString(data)
    except (DecodeError, ValueError):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"the request is no {kind.__name__}") from None
