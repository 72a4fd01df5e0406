"""What tells one life of a daemon from the next: when the kernel started its process. A restarted one is another holder."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_START_TIME = 19
"""Field 22 of `/proc/PID/stat`, counted from behind the name: ticks since boot, the same in every process namespace."""


def of(pid: int | str) -> str:
    """The life of a process. Raises `OSError` when there is none."""
    return of_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))


def of_stat(text: str) -> str:
    """The same, of what the kernel says in that file."""
    return text.rpartition(")")[2].split()[_START_TIME]


def behind(connection: socket.socket) -> str | None:
    """The life that listens at the other end of a Unix socket; None if it is of a namespace that we do not see into.

    Raises `OSError` when it is over.
    """
    pid: int = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
    return of(pid) if pid else None
