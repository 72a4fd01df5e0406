"""Free ports that stay ours: chosen below the ephemeral range and reserved against every other run on this machine.

A port found free by `bind(0)` can be taken again before the server starts, by another test run or by any outgoing
connection. So ports come from outside the range the kernel hands out, each is guarded by an advisory lock on a file
in one folder shared by all runs, and the lock is held as long as the cluster lives. The kernel drops it with us.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_LOCK_DIR = "leaderd-testbed-ports"
_LOWEST = 16000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass
class Reservation:
    """Ports that no other test bed on this machine will take until `release`."""

    ports: tuple[int, ...]
    _locks: list[int] = field(default_factory=list, repr=False)

    def release(self) -> None:
        """Give the ports back. May be called more than once."""
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def reserve(count: int, host: str = "127.0.0.1") -> Reservation:
    """Reserve `count` ports of `host`, free for TCP and UDP at this moment. Raises `OSError` when there are not enough."""
    folder = Path(tempfile.gettempdir()) / _LOCK_DIR
    folder.mkdir(exist_ok=True)
    try:
        folder.chmod(0o1777)
    except PermissionError:
        pass  # made by another user, who has already opened it to everybody
    ports: list[int] = []
    locks: list[int] = []
    for port in _candidates():
        if len(ports) == count:
            break
        lock = _lock(folder / str(port))
        if lock is None:
            continue
        if _is_free(host, port):
            ports.append(port)
            locks.append(lock)
        else:
            os.close(lock)
    if len(ports) < count:
        for lock in locks:
            os.close(lock)
        raise OSError(f"fewer than {count} free ports on {host}")
    return Reservation(tuple(ports), locks)


def _candidates() -> list[int]:
    """Ports the kernel never picks for outgoing connections, in random order."""
    low, high = 32768, 60999
    try:
        low, high = (int(word) for word in _EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        pass  # not Linux, or a /proc we may not read: the usual range is a good guess
    span = range(_LOWEST, low) if low - _LOWEST > 1000 else range(high + 1, 65536)
    if len(span) < 100:
        span = range(_LOWEST, 65536)
    return random.sample(span, len(span))


def _lock(path: Path) -> int | None:
    """An open file holding an exclusive lock on `path`, or None if somebody else has it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _is_free(host: str, port: int) -> bool:
    """Whether a TCP server and a UDP server could bind the port now. No SO_REUSEADDR: TIME_WAIT counts as taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
