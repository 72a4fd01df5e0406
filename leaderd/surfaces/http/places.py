"""The places of those who stay: how many streams there may be, and how many of them for one listener and for one user.

Events are many small readers: all of a host's may come, but nobody takes them all from the others, and the ops listener, where
anybody on the network may ask, has a few of its own. Holds delay hand-overs, so there are fewer, and none on the ops listener.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderd.surfaces.descriptors import too_high_for_a_stream
from leaderd.surfaces.http.hold import MAX_HOLDS
from leaderd.surfaces.http.wire import Refusal

if TYPE_CHECKING:
    from leaderd.surfaces.http.connection import Connection


@dataclass(frozen=True, slots=True)
class Limits:
    """How many: on this host together, of one user on the socket or all on loopback, and on the ops listener besides."""

    together: int
    each: int
    ops: int


LIMITS = {"events": Limits(1280, 1024, 128), "hold": Limits(MAX_HOLDS, 192, 1)}
"""By kind of stream. (A hold on the ops listener is refused by its route, whatever there is room for.)"""


class Places:
    """Who has how many. A share is of the ops listener, of the app listener, or of one user on the Unix socket."""

    def __init__(self) -> None:
        self._taken: dict[Connection, tuple[str, str]] = {}
        self._shares: Counter[tuple[str, str]] = Counter()

    def check(self, connection: Connection, kind: str) -> None:
        """Raise `Refusal` when one more would be too many: it ends the connection, too, which would only take up room."""
        limits, whose = LIMITS[kind], share(connection)
        most = limits.ops if whose == "ops" else limits.each
        local = sum(count for (what, who), count in self._shares.items() if what == kind and who != "ops")
        if self._shares[kind, whose] >= most:
            raise _full(f"{whose} has its {most} streams of this kind already")
        if whose != "ops" and local >= limits.together:
            raise _full(f"there are {limits.together} streams of this kind already")
        if too_high_for_a_stream(descriptor(connection)):
            raise _full("no more files may be opened for streams (see the limit of open files)")

    def take(self, connection: Connection, kind: str) -> None:
        """It has one of them."""
        self._taken[connection] = key = kind, share(connection)
        self._shares[key] += 1

    def free(self, connection: Connection) -> None:
        """It has gone, if it had one."""
        key = self._taken.pop(connection, None)
        if key is not None:
            self._shares[key] -= 1
            if not self._shares[key]:
                del self._shares[key]


def descriptor(connection: Connection) -> int:
    """The number of its file descriptor; -1 when it has none (any more)."""
    sock = None if connection.transport is None else connection.transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def share(connection: Connection) -> str:
    """Who it counts for."""
    return connection.listener if connection.uid is None else f"user {connection.uid}"


def _full(why: str) -> Refusal:
    refusal = Refusal(503, f"{why}: ask /is-leader instead, or try again later")
    refusal.headers = b"Retry-After: 5\r\n"
    return refusal
