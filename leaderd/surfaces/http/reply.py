"""Answers as bytes. Errors are problem objects (RFC 9457), always, and never show a traceback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from leaderd.surfaces.http.stream import Stream
from leaderd.surfaces.http.wire import Refusal

JSON = b"application/json"
PROBLEM = b"application/problem+json"
TEXT = b"text/plain; charset=utf-8"
EVENT_HEADERS = b"Content-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"
ALLOWED = "GET, HEAD, OPTIONS"
ALLOW = f"Allow: {ALLOWED}\r\n".encode()
_BODILESS = frozenset({204, 205, 304})
_PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES: dict[int, bytes] = {}
_COMMON = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
_LENGTH = b"Content-Length: %d\r\n"
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_10 = b"Connection: keep-alive\r\n\r\n"
encode_json = msgspec.json.Encoder().encode


class WaitAsked(NamedTuple):
    """Not answered yet: first wait for another index of that election than this one, for so long at most."""

    election: str
    known: int
    wait_s: float


class Response(NamedTuple):
    """An answer; `headers` are complete lines. `silent`: the headers only, as for OPTIONS, with a length of zero."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""
    silent: bool = False
    stream: Stream | None = None
    """Set: what follows the head is a stream of events, until one side closes; there is no body."""
    wait: WaitAsked | None = None
    """Set: this is no answer yet, ask again after the wait."""
    work: Callable[[], Awaitable[Response]] | None = None
    """Set: the answer is what this comes to; it is done once, whether or not anybody waits for it."""


def problem(refusal: Refusal, headers: bytes = b"") -> Response:
    """The problem object of a refusal."""
    status = refusal.status
    found = {"type": "about:blank", "title": phrase(status), "status": status, "detail": refusal.detail, **refusal.members}
    return Response(status, encode_json(found), PROBLEM, headers + refusal.headers)


def as_bytes(response: Response, date: bytes, minor: int, keep_alive: bool, head_only: bool) -> bytes:
    """The answer on the wire. `date` is the complete header line."""
    status, body, content_type, headers, silent, stream, *_ = response
    if stream is not None:
        return b"".join((_STATUS_LINES.get(status) or _status_line(status), date, EVENT_HEADERS, _COMMON, headers, _CLOSE))
    if silent or status in _BODILESS:
        body = b""
    length = b"" if status in {204, 304} else _LENGTH % len(body)
    end = _CLOSE if not keep_alive else (b"\r\n" if minor == 1 else _KEEP_10)
    kind = b"Content-Type: %b\r\n" % content_type if body else b""
    line = _STATUS_LINES.get(status) or _status_line(status)
    return b"".join((line, date, kind, _COMMON, headers, length, end, b"" if head_only else body))


def phrase(status: int) -> str:
    """The reason phrase of a status code, also of one that nobody has registered."""
    return _PHRASES.get(status, "Status")


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES[status] = f"HTTP/1.1 {status} {phrase(status)}\r\n".encode("ascii")
    return line
