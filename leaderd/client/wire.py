"""GET over the daemon's Unix socket. A connection per question, so that threads and forked children share none."""

from __future__ import annotations

import os
import socket
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

from leaderd.client.errors import DaemonUnreachable

_MAX_BYTES = 1024 * 1024
TIMEOUT_S = 3.0


def runtime_dirs() -> list[str]:
    """Where a daemon's runtime directory may be, first choice first (as the daemon chooses it)."""
    if given := os.environ.get("LEADERD_RUNTIME_DIR"):
        return [given]
    found = ["/run/leaderd"]
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(f"{session}/leaderd")
    private = f"{os.environ.get('TMPDIR') or '/tmp'}/leaderd-{os.geteuid()}"  # noqa: S108 - ownership is checked
    try:
        status = os.lstat(private)
    except OSError:
        return found
    # In a temp dir anybody may have been there first, with a daemon that lies.
    return [*found, private] if status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o002 else found


def find_socket() -> str:
    """The daemon's socket: `LEADERD_SOCKET`, else the first that exists, else the one that should."""
    given = os.environ.get("LEADERD_SOCKET")
    if given and given != "off":
        return given
    paths = [f"{directory}/leaderd.sock" for directory in runtime_dirs()]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def get(path: str, target: str, timeout_s: float = TIMEOUT_S) -> tuple[int, dict[str, Any]]:
    """Status and JSON body, all within `timeout_s`. Raises `DaemonUnreachable` for whatever is no complete answer."""
    deadline_s = clock_gettime(CLOCK_BOOTTIME) + timeout_s
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\r\n"
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(request.encode("ascii"))
            while len(data) < _MAX_BYTES:
                left_s = deadline_s - clock_gettime(CLOCK_BOOTTIME)
                if left_s <= 0:
                    raise TimeoutError
                connection.settimeout(left_s)
                more = connection.recv(65536)
                if not more:
                    break
                data += more
    except TimeoutError:
        raise DaemonUnreachable(f"the daemon at {path} did not answer within {timeout_s:g}s") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonUnreachable(f"no daemon at {path}: start `leaderd run`, or set LEADERD_SOCKET") from None
    except PermissionError:
        raise DaemonUnreachable(f"no permission to connect to {path}: join its group, or set listen.socket.group") from None
    except OSError as error:
        raise DaemonUnreachable(f"cannot ask the daemon at {path}: {error.strerror or error}") from None
    return _parsed(bytes(data), path)


def _parsed(data: bytes, path: str) -> tuple[int, dict[str, Any]]:
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
