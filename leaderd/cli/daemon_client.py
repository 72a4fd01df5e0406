"""One request over the daemon's Unix socket, with bounded time and size. Written by hand: `http.client` takes 20 ms to import.

Fails closed: whatever is not a complete and well-formed answer is `Unreachable`.
"""

from __future__ import annotations

import os
import socket

from leaderd.clock import BootClock
from leaderd.errors import EXIT_UNREACHABLE, Fatal

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 3.0
_HEADERS = "Host: localhost\r\nConnection: close\r\nAccept: application/json\r\n"

now_s = BootClock(jump_limit_s=1.0).now_s


class Unreachable(Fatal):
    """No answer from a daemon; the text says what was tried and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_UNREACHABLE)


class Answer:
    """A complete answer. `asked_at_s`: our clock before the request was sent, which is what a promise counts from."""

    __slots__ = ("asked_at_s", "body", "status")

    def __init__(self, status: int, body: bytes, asked_at_s: float) -> None:
        self.status = status
        self.body = body
        self.asked_at_s = asked_at_s

    def json(self) -> dict[str, object]:
        """The body as an object; empty when it is none."""
        import json

        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def complaint(self) -> str:
        """What the daemon says is wrong (RFC 9457), for a status that is an error."""
        problem = self.json()
        said = problem.get("detail") or problem.get("title")
        return str(said) if said else f"the daemon answered {self.status}"


def socket_path(given: str | None) -> str:
    """The daemon's socket: `--socket`, else `LEADERD_SOCKET`, else the default path. Raises `Unreachable`."""
    from leaderd.config.paths import find_socket

    path = given or os.environ.get("LEADERD_SOCKET")
    if path == "off":
        raise Unreachable("LEADERD_SOCKET is off: give --socket PATH, or ask over HTTP")
    if path:
        return path
    found, tried = find_socket(os.environ)
    if found is None:
        raise Unreachable(
            f"no daemon found, tried {', '.join(tried)}: start `leaderd run`, or give --socket PATH or LEADERD_SOCKET"
        )
    return found


def get(path: str, target: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """`GET target` over the socket at `path`, all of it within `timeout_s`. Raises `Unreachable`."""
    return _ask(path, f"GET {target} HTTP/1.1\r\n{_HEADERS}\r\n", timeout_s)


def change(path: str, method: str, target: str, body: str, timeout_s: float) -> Answer:
    """Ask for a change, with `body` as JSON in ASCII. Raises `Unreachable`: then it may have happened all the same."""
    head = f"{method} {target} HTTP/1.1\r\n{_HEADERS}X-Leaderd-Request: 1\r\nContent-Length: {len(body)}\r\n\r\n"
    return _ask(path, head + body, timeout_s)


def _ask(path: str, request: str, timeout_s: float) -> Answer:
    asked_at_s = now_s()
    deadline_s = asked_at_s + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(request.encode("ascii"))
            head, rest = _read_head(connection, deadline_s)
            status, length, chunked = _parse_head(head)
            body = _read_body(connection, rest, length, deadline_s)
    except TimeoutError:
        raise Unreachable(f"the daemon at {path} did not answer within {timeout_s:g}s: is it stopped or overloaded?") from None
    except FileNotFoundError:
        raise Unreachable(f"no daemon at {path}: start `leaderd run`, or give --socket PATH or LEADERD_SOCKET") from None
    except ConnectionRefusedError:
        raise Unreachable(f"no daemon listens at {path}, it has ended: start `leaderd run`") from None
    except PermissionError:
        raise Unreachable(f"no permission to connect to {path}: join its group, or set listen.socket.mode and group") from None
    except OSError as exc:
        raise Unreachable(f"cannot ask the daemon at {path}: {exc.strerror or exc}") from None
    except _Malformed as exc:
        raise Unreachable(f"what answers at {path} is no leaderd: {exc}") from None
    return Answer(status, _dechunked(body, path) if chunked else body, asked_at_s)


class _Malformed(Exception):
    pass


def _receive(connection: socket.socket, deadline_s: float) -> bytes:
    left_s = deadline_s - now_s()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
    return connection.recv(65536)


def _read_head(connection: socket.socket, deadline_s: float) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > MAX_HEADER_BYTES:
            raise _Malformed("its header is too long")
        more = _receive(connection, deadline_s)
        if not more:
            raise _Malformed("it closed the connection before it had answered")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _parse_head(head: bytes) -> tuple[int, int | None, bool]:
    """Status, length of the body if it is announced, and whether it comes in chunks."""
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise _Malformed("it does not speak HTTP")
    length, chunked = None, False
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if name == b"content-length":
            if not value.isdigit() or len(value) > 9:
                raise _Malformed("its Content-Length is no number")
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
    return int(words[1]), length, chunked


def _read_body(connection: socket.socket, data: bytes, length: int | None, deadline_s: float) -> bytes:
    """All of the body, up to `length` or the end of the connection."""
    if length is not None and length > MAX_BODY_BYTES:
        raise _Malformed("its answer is too long")
    parts, size = [data], len(data)
    while length is None or size < length:
        more = _receive(connection, deadline_s)
        if not more:
            if length is not None:
                raise _Malformed("its answer was cut off")
            break
        parts.append(more)
        size += len(more)
        if size > MAX_BODY_BYTES:
            raise _Malformed("its answer is too long")
    return b"".join(parts)[:length]


def _dechunked(data: bytes, path: str) -> bytes:
    parts: list[bytes] = []
    while True:
        size_text, found, data = data.partition(b"\r\n")
        try:
            size = int(size_text.split(b";")[0], 16)
        except ValueError:
            size = -1
        if not found or size < 0 or len(data) < size + 2:
            raise Unreachable(f"the answer of the daemon at {path} was cut off")
        if size == 0:
            return b"".join(parts)
        parts.append(data[:size])
        data = data[size + 2 :]
