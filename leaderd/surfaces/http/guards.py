"""Who may ask over TCP: requests that name this machine in `Host`, and no web page's doings in the name of its reader.

A page that makes a browser resolve `evil.example` to 127.0.0.1 (DNS rebinding) still sends `Host: evil.example`, also with
a GET and without any `Origin`. So the list is of hosts, and it holds for every request, whatever its method.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable

from leaderd.surfaces.http.wire import Refusal, Request

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?", re.ASCII)
_ORIGIN = re.compile(r"https?://(.+)", re.IGNORECASE)
_UNSPECIFIED = frozenset({b"\0" * 4, b"\0" * 16})


class HostGuard:
    """The allow-list of one daemon: loopback names, the machine's own addresses, and the configured names."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset({"localhost", "::1", *(name.lower().strip("[]").rstrip(".") for name in names)})
        self._known: set[str] = set()

    def check(self, request: Request, local_address: str | None) -> None:
        """Raise `Refusal` unless `Host` names us. `local_address` is where the connection arrived."""
        value = request.headers.get("host")
        if value is None:
            raise Refusal(400, "the Host header is missing")
        if value in self._known:
            return
        host = _host_of(value)
        if host is None:
            raise Refusal(400, "the Host header is no host name or address with an optional port")
        if self._is_name(host):
            # Fixed for the life of the process, unlike the machine's addresses. Bounded: ports are the only free part.
            if len(self._known) < 64:
                self._known.add(value)
            return
        if host != local_address and not is_own_address(host):
            raise Refusal(
                421, f"{host!r} is no name of this daemon: use localhost or an address of this machine, or add it to http.hosts"
            )

    def is_foreign(self, request: Request) -> bool:
        """Whether a web page from elsewhere made the browser send this."""
        headers = request.headers
        if headers.get("sec-fetch-site", "none").lower() not in {"none", "same-origin"}:
            return True
        origin = headers.get("origin")
        if origin is None:
            return False
        match = _ORIGIN.fullmatch(origin)
        host = _host_of(match[1]) if match is not None else None
        return host is None or not (self._is_name(host) or is_own_address(host))

    def _is_name(self, host: str) -> bool:
        return host in self._names or (host.startswith("127.") and _packed(host) is not None)


class OperatorGuard:
    """Who may change things: on the Unix socket root, our own user and `uids`; on loopback who shows that they mean it."""

    def __init__(self, uids: Iterable[int] = ()) -> None:
        self._uids = frozenset({0, os.geteuid(), *uids})

    def check(self, request: Request, listener: str, uid: int | None, from_loopback: bool) -> None:
        """Raise `Refusal` unless the request may change something. `uid`: the peer's, by the kernel's word, on the Unix socket."""
        if listener == "socket":
            if uid not in self._uids:
                raise Refusal(403, f"user {'unknown' if uid is None else uid} is not among operators.uids")
        elif listener != "app" or not from_loopback:
            raise Refusal(403, "changes need the Unix socket, or loopback and the app listener")
        # A web page can make a browser send a form to loopback, but not with a header of its own.
        if request.headers.get("x-leaderd-request") != "1":
            raise Refusal(403, "changes need the header X-Leaderd-Request: 1")


def is_loopback(peer: object) -> bool:
    """Whether a TCP peer's name, as the kernel has it, is on this host."""
    if not isinstance(peer, tuple) or not peer:
        return False
    host = str(peer[0]).removeprefix("::ffff:")
    return host == "::1" or (host.startswith("127.") and _packed(host) is not None)


def is_own_address(host: str) -> bool:
    """Whether `host` is an IP address of this machine, asked of the kernel at this instant: addresses come and go."""
    packed = _packed(host)
    if packed is None or packed in _UNSPECIFIED:
        return False
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing: the kernel looks for the way there, and only the way to oneself starts where it ends.
            probe.connect((host, 9))
            return _packed(probe.getsockname()[0]) == packed
    except OSError:
        return False


def _host_of(value: str) -> str | None:
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    host = match[1].lower()
    if host.startswith("["):
        return host[1:-1] if _packed(host[1:-1]) is not None else None
    return host.removesuffix(".") or None


def _packed(host: str) -> bytes | None:
    """The address in network form; strict, so that 127.1 and 2130706433 are names, which nobody has allowed."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return None
