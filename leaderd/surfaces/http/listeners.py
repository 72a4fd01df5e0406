"""Where we listen. What cannot be had is one clear error that names the address and the remedy."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leaderd.errors import EXIT_INTERNAL, Fatal
from leaderd.surfaces import socketfile

_ACCEPTS_PER_TURN = 8
"""How many connections one listener accepts per turn of the loop; a flood of them must leave room for renewals, and for
descriptors: those of about three turns exist before the first is looked at and closed (`descriptors.RESERVE`)."""
_BACKLOG = 512


class ListenError(Fatal):
    """An address cannot be listened on. Exit 70, not 78: who holds it may be gone at the next start."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_INTERNAL)


class UnixAddress(NamedTuple):
    """A Unix socket to make: `mode` is its permission bits, `group_id` the group it is given to (None: as it comes)."""

    path: Path
    mode: int = 0o660
    group_id: int | None = None


async def bind_tcp(host: str, port: int, key: str) -> list[socket.socket]:
    """Listening sockets for every address of `host`; port 0 takes any free one. `key`: its flag. Raises `ListenError`."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror or error}: give --{key} an address of this machine") from None
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, address))
        except OSError as error:
            # `localhost` may name ::1 where there is no IPv6; an address in use is never passed over.
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                _close(sockets)
                raise ListenError(f"cannot listen on {where}: {_why(error, key)}") from None
            refused = error
        if port == 0 and sockets:
            break
    if not sockets:
        raise ListenError(f"cannot listen on {where}: {_why(refused or OSError(errno.EADDRNOTAVAIL, 'no such address'), key)}")
    return sockets


def bind_unix(address: UnixAddress) -> socketfile.BoundSocket:
    """The Unix socket, in its place. Raises `ListenError`."""
    try:
        return socketfile.bind(address.path, address.mode, address.group_id, _BACKLOG)
    except socketfile.SocketFileError as error:
        raise ListenError(f"--socket: {error}") from None


async def serve(sock: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Accept on a bound socket."""
    server = await asyncio.get_running_loop().create_server(protocol, sock=sock, backlog=_ACCEPTS_PER_TURN)
    # asyncio has one number for both; what the kernel holds for us may be more than what we take at once.
    sock.listen(_BACKLOG)
    return server


def _bound(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means every address, IPv4 as well; any other one means itself.
            every = isinstance(address, tuple) and address[0] == "::"
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if every else 1)
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _why(error: OSError, key: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program listens there: stop it, or set --{key} to another port or to off"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"not permitted: set --{key} to a port from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"that is no address of this machine: set --{key} to one, or to 0.0.0.0 for all"
    return f"{error.strerror or error}: set --{key} to another address or to off"
