"""Who comes in, and how many: accepts connections, notes who is at the other end, and carries the bytes to grpc's server and back.

Rule 1: it does not look at the bytes; TLS is between the client and grpc's server.
Rule 2: the way to grpc's server is known by the name the kernel gave to our end of it, and grpc tells that name with every call.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from leaderd.surfaces.socketfile import peer_of

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_UID = 128
_ABSTRACT = "unix-abstract:"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `uid`: their user, by the kernel's word, if they came through the Unix socket. `loopback`: they came over it."""

    uid: int | None = None
    loopback: bool = False

    @property
    def local(self) -> bool:
        """Whether they are on this host (in a pod: in this pod)."""
        return self.uid is not None or self.loopback


STRANGER = Caller()


class Doorman:
    """All connections of the gRPC listener. `inner`: a descriptor (O_PATH) of the socket that grpc's server listens on."""

    def __init__(self, inner: int) -> None:
        self._inner = inner
        # In the order in which they were last heard of, the most silent first.
        self._guests: dict[_Front, Caller] = {}
        self._names: dict[str, Caller] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._guests)

    def protocol(self) -> asyncio.BaseProtocol:
        """For the listeners."""
        return _Front(self)

    def caller(self, peer: str) -> Caller:
        """Who is meant by the peer that grpc names."""
        return self._names.get(peer.removeprefix(_ABSTRACT), STRANGER)

    async def stop(self, grace_s: float) -> None:
        """Let nobody in; let what was written leave within `grace_s`."""
        self._closed = True
        for task in tuple(self._opening):
            task.cancel()
        for guest in tuple(self._guests):
            guest.close()
        if self._guests:
            try:
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()
            except TimeoutError:
                for guest in tuple(self._guests):
                    guest.abort()

    # ---- called by the connections

    def admit(self, guest: _Front, transport: asyncio.Transport) -> None:
        """Let a connection in; when there are too many, the one that has been silent longest goes."""
        caller = _caller_of(transport)
        if self._closed or caller is None:
            transport.abort()
            return
        if caller.uid is not None:
            mine = [other for other, who in self._guests.items() if who.uid == caller.uid]
            if len(mine) >= MAX_CONNECTIONS_PER_UID:
                mine[0].abort()
        if len(self._guests) >= MAX_CONNECTIONS:
            next(iter(self._guests)).abort()
        self._guests[guest] = caller
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._open(guest, caller))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def heard(self, guest: _Front) -> None:
        """It sent something."""
        caller = self._guests.pop(guest, None)
        if caller is not None:
            self._guests[guest] = caller

    def leave(self, guest: _Front) -> None:
        """It is gone."""
        self._guests.pop(guest, None)
        self._names.pop(guest.name, None)
        if not self._guests:
            self._empty.set()

    async def _open(self, guest: _Front, caller: Caller) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind("")  # the kernel chooses a free name
            # By the descriptor: the socket has no name in any directory.
            sock.connect(f"/proc/self/fd/{self._inner}")
            guest.name = os.fsdecode(sock.getsockname()[1:])
            self._names[guest.name] = caller
            back = _Back(guest)
            await asyncio.get_running_loop().create_unix_connection(lambda: back, sock=sock)
        except OSError:  # grpc's server takes no more just now
            sock.close()
            guest.abort()
        except BaseException:
            sock.close()
            guest.abort()
            raise


class _Side(asyncio.Protocol):
    """One end of a carried connection."""

    transport: asyncio.Transport | None = None
    other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._tell(lambda transport: transport.write(data))

    def pause_writing(self) -> None:
        self._tell(lambda transport: transport.pause_reading())

    def resume_writing(self) -> None:
        self._tell(lambda transport: transport.resume_reading())

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(lambda transport: transport.close())

    def close(self) -> None:
        """Close it when what was written has left."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close it now."""
        if self.transport is not None:
            self.transport.abort()

    def _tell(self, do: Callable[[asyncio.Transport], None]) -> None:
        if self.other is not None and self.other.transport is not None:
            do(self.other.transport)


class _Front(_Side):
    """The client's end."""

    def __init__(self, doorman: Doorman) -> None:
        self._doorman = doorman
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._doorman.admit(self, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._doorman.heard(self)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._doorman.leave(self)
        super().connection_lost(exc)


class _Back(_Side):
    """The end at grpc's server."""

    def __init__(self, front: _Front) -> None:
        self.other = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        front = cast(_Front, self.other)
        if front.transport is None or front.transport.is_closing():
            self.abort()
            return
        front.other = self
        front.transport.resume_reading()


def _caller_of(transport: asyncio.Transport) -> Caller | None:
    """None when the peer is gone already."""
    sock = transport.get_extra_info("socket")
    try:
        if sock.family == socket.AF_UNIX:
            return Caller(uid=peer_of(sock).uid)
        address = ipaddress.ip_address(sock.getpeername()[0].partition("%")[0])
    except OSError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Caller(loopback=address.is_loopback)
