"""GET over the daemon's Unix socket. A connection per question, so that threads and forked children share none."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

from leaderd.client.errors import DaemonUnreachable

MAX_BYTES = 1024 * 1024
TIMEOUT_S = 3.0


def get(path: str, target: str, timeout_s: float = TIMEOUT_S) -> tuple[int, dict[str, Any]]:
    """Status and JSON body, all within `timeout_s`. Raises `DaemonUnreachable` for whatever is no complete answer."""
    import socket  # not needed by whoever only looks

    deadline_s = clock_gettime(CLOCK_BOOTTIME) + timeout_s
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\r\n"
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(request.encode("ascii"))
            while len(data) < MAX_BYTES:
                left_s = deadline_s - clock_gettime(CLOCK_BOOTTIME)
                if left_s <= 0:
                    raise TimeoutError
                connection.settimeout(left_s)
                more = connection.recv(65536)
                if not more:
                    break
                data += more
    except OSError as error:
        raise complaint(error, path, timeout_s) from None
    return parsed(bytes(data), path)


def complaint(error: OSError, path: str, timeout_s: float) -> DaemonUnreachable:
    """What to tell the user of a daemon that could not be asked."""
    if isinstance(error, TimeoutError):
        return DaemonUnreachable(f"the daemon at {path} did not answer within {timeout_s:g}s")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return DaemonUnreachable(f"no daemon at {path}: start `leaderd run`, or set LEADERD_SOCKET")
    if isinstance(error, PermissionError):
        return DaemonUnreachable(f"no permission to connect to {path}: join its group, or set listen.socket.group")
    return DaemonUnreachable(f"cannot ask the daemon at {path}: {error.strerror or error}")


def parsed(data: bytes, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a complete answer. Raises `DaemonUnreachable`."""
    import json  # not needed by whoever only looks

    head, found, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    length = -1
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            length = int(value)
    try:
        if not found or not words[0].startswith(b"HTTP/1.") or length != len(body):
            raise ValueError
        status, parsed = int(words[1]), json.loads(body)
        if not isinstance(parsed, dict):
            raise ValueError
    except (ValueError, IndexError, RecursionError):
        raise DaemonUnreachable(f"the answer at {path} is cut off, or not that of a leaderd") from None
    return status, parsed
