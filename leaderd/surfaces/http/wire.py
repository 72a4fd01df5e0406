"""One HTTP/1.x request head: bytes -> `Request`, or a `Refusal` that says what is wrong with it. Pure: no I/O, no clock.

Strict on purpose. What two readers could read differently (bare line feeds, folded or doubled headers, two body lengths, a space
before the colon) is refused, not repaired: nothing in front of us or behind us can be made to see another request than we do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 8192
MAX_HEADERS = 32
MAX_BODY_BYTES = 16 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = re.compile(_TOKEN + rb"{1,32} [!-~]+ HTTP/[0-9]\.[0-9]")
_HEADER = re.compile(rb"(" + _TOKEN + rb"+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_START = re.compile(_TOKEN + rb"{1,32}( |$)")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_NOT_A_LINE_END = re.compile(rb"\r(?!\n|$)")
_ONCE = frozenset({"host", "content-length", "transfer-encoding", "expect", "origin", "sec-fetch-site", "x-leaderd-request"})


class Refusal(Exception):
    """A request that is not answered: its status, one line for its sender, and members of the problem object (RFC 9457)."""

    def __init__(self, status: int, detail: str, **members: str | int) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members
        self.headers = b""
        """More headers of the answer, complete lines."""


@dataclass(slots=True)
class Request:
    """A well-formed request. `path` is decoded, `query` is not; header names are lower case.

    `has_body`: a body follows; if nobody reads it, the connection cannot go on after the answer.
    """

    method: str
    path: str
    query: str
    minor: int
    headers: dict[str, str]
    has_body: bool
    keep_alive: bool
    memo: object = field(default=None)
    """What a route made of the query; an app that asks the same thing again is not parsed again."""
    waited: bool = field(default=False)
    """It has waited for a change, or for as long as it wanted to: now it is answered."""
    body: bytes | None = field(default=None)
    """Set when it has been read."""

    def body_length(self) -> int:
        """How long the body is. Raises `Refusal` when it is not said, or is too long."""
        length = self.headers.get("content-length")
        if length is None and "transfer-encoding" in self.headers:
            raise Refusal(411, "a body needs its Content-Length here; chunked is not read")
        found = int(length or "0")
        if found > MAX_BODY_BYTES:
            raise Refusal(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        return found


def parse_head(head: bytes) -> Request:
    """Read a head without its closing empty line. Raises `Refusal`."""
    line, *fields = head.split(b"\r\n")
    if _REQUEST_LINE.fullmatch(line) is None:
        raise Refusal(400, "the request line is not METHOD, a space, the target in visible ASCII, a space, HTTP/1.1")
    method, target, version = line.decode("ascii").split(" ")
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    path, query = _split_target(method, target)
    headers = _parse_headers(fields)
    minor = int(version[-1])
    if minor == 1 and "host" not in headers:
        raise Refusal(400, "the Host header is missing")
    expect = headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise Refusal(417, "the only expectation known is 100-continue")
    return Request(method, path, query, minor, headers, _has_body(headers, minor), _keep_alive(headers, minor))


def fault_in_part(data: bytes) -> Refusal | None:
    """What is already wrong with a head that is not complete, so that nobody waits for the rest of a TLS greeting."""
    if _START.match(data[:33]) is None:
        return Refusal(400, "this is not HTTP: TLS or another protocol on a plain HTTP port?")
    if _BARE_LINE_FEED.search(data) or _NOT_A_LINE_END.search(data):
        return Refusal(400, "lines end with CR LF, both of them")
    if len(data) > MAX_HEAD_BYTES:
        return too_large(data)
    return None


def too_large(data: bytes) -> Refusal:
    """The refusal of a head above the limit, naming the part that is too long."""
    if data.find(b"\r\n", 0, MAX_HEAD_BYTES) < 0:
        return Refusal(414, f"the request line is longer than {MAX_HEAD_BYTES} bytes")
    return Refusal(431, f"the headers are longer than {MAX_HEAD_BYTES} bytes")


def _split_target(method: str, target: str) -> tuple[str, str]:
    if method == "CONNECT":
        raise Refusal(400, "CONNECT is for proxies; this is none")
    if target == "*" and method == "OPTIONS":
        return "*", ""
    if not target.startswith("/"):
        raise Refusal(400, "the target must be a path; absolute URLs are for proxies, and this is none")
    if "#" in target:
        raise Refusal(400, "a fragment (#) does not belong into a request")
    path, _, query = target.partition("?")
    return (decode_percent(path, "the path") if "%" in path else path), query


def decode_percent(text: str, what: str) -> str:
    """`%41` -> `A`; raises `Refusal` for anything that is not UTF-8, hides a slash, or holds a control character."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise Refusal(400, f"{what} has a % without two hexadecimal digits")
    if re.search(r"%2[Ff]", text):
        raise Refusal(400, f"{what} hides a slash (%2F)")
    try:
        plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes((int(match[1], 16),)), text.encode("ascii")).decode("utf-8")
    except UnicodeError:
        raise Refusal(400, f"{what} is not UTF-8") from None
    if not plain.isprintable():
        raise Refusal(400, f"{what} holds a control character")
    return plain


def _parse_headers(fields: list[bytes]) -> dict[str, str]:
    if len(fields) > MAX_HEADERS:
        raise Refusal(431, f"there are more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in fields:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Refusal(400, "a header is not NAME, a colon, and a value without control characters, on one line")
        name = match[1].decode("ascii").lower()
        try:
            value = match[2].rstrip(b" \t").decode("utf-8")
        except UnicodeError:
            raise Refusal(400, "a header is not UTF-8") from None
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            raise Refusal(400, f"the header {name} is there more than once")
        else:
            headers[name] += ", " + value
    return headers


def _has_body(headers: dict[str, str], minor: int) -> bool:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise Refusal(400, "Content-Length and Transfer-Encoding contradict each other")
        if minor == 0 or coding.lower() != "chunked":
            raise Refusal(400, "the only transfer coding known is chunked, in HTTP/1.1")
        return True
    if length is None:
        return False
    if re.fullmatch(r"[0-9]{1,18}", length, re.ASCII) is None:
        raise Refusal(400, "Content-Length is no number")
    return int(length) > 0


def _keep_alive(headers: dict[str, str], minor: int) -> bool:
    said = headers.get("connection")
    if said is None:
        return minor == 1
    options = {option.strip().lower() for option in said.split(",")}
    return "close" not in options and (minor == 1 or "keep-alive" in options)
