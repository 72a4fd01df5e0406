"""What a service manager is told over sd_notify's socket: that we are up, reloading, leaving; and, by the watchdog, that we decide.

The watchdog is fed from the loop that holds the election, and only while that loop keeps its own deadlines: a thread that says
"alive" beside a wedged loop would be worse than none. The protocol is that of sd_notify(3); without `NOTIFY_SOCKET` all of this
does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress

_FEEDS_PER_LIMIT = 3
"""How often a watchdog's limit is met by a healthy loop: one missed feed must not kill us."""


class ServiceManager:
    """The other end of `NOTIFY_SOCKET`, or nobody. No method blocks or raises: a deaf service manager costs us nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the variables out of `environ`, so that no child of ours (a hook) speaks for us."""
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        limit_us, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid()))
        self.watchdog_s = int(limit_us) / 1e6 if ours and limit_us.isdecimal() and self._address else 0.0
        """Within what time the watchdog must be fed; 0 when there is none."""
        self._socket: socket.socket | None = None
        self._handle: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Listeners are up, or a reload is over."""
        self._send("READY=1\nSTATUS=taking part in elections")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send("RELOADING=1\nSTATUS=reloading")

    def stopping(self, within_s: float) -> None:
        """Leaving, which takes up to `within_s` seconds: promises are waited for."""
        self._send(f"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    def watch(self, healthy: Callable[[], bool]) -> None:
        """Feed the watchdog from this loop, now and from now on, whenever `healthy` says so."""
        if self.watchdog_s > 0:
            if healthy():
                self._send("WATCHDOG=1")
            self._handle = asyncio.get_running_loop().call_later(self.watchdog_s / _FEEDS_PER_LIMIT, self.watch, healthy)

    def close(self) -> None:
        """Say no more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._socket is not None:
            self._socket.close()
        self._address, self._socket, self._handle = "", None, None

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with suppress(OSError):  # full or gone: the next message is as good, and nothing of ours depends on it
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._socket.sendto(message.encode(), self._address)


def _address(given: str) -> str:
    """An absolute path, or a name in the abstract namespace, which is written with an `@`."""
    if given.startswith("@"):
        return "\0" + given[1:]
    return given if given.startswith("/") else ""
