"""Who comes in, and how many: accepts connections, notes who is at the other end, and carries the bytes to grpc's server and back.

Rule 1: it does not look into messages, and TLS is between the client and grpc's server. Without TLS, and from this host, it follows
the frames (see `frames`), so that a call that its client has cancelled can be told from one that was cut off.
Rule 2: the way to grpc's server is known by the name the kernel gave to our end of it, and grpc tells that name with every call.
Rule 3: who holds a term is never shed to make room: it would have to wait for the promise all the same, and its work would be lost.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from leaderd.surfaces.descriptors import too_high_for_a_stream
from leaderd.surfaces.grpc.frames import Frames
from leaderd.surfaces.socketfile import peer_of

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_UID = 64
MAX_HOLDERS = 128
MAX_HOLDERS_PER_UID = 32
"""Connections over which terms are held: fewer than there are, so that there is always one that can make room."""
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


class Grip:
    """A term is held over this connection, by this call, until `close`."""

    def __init__(self, guest: _Front | None, stream: int | None) -> None:
        self._guest = guest
        self._stream = stream
        if guest is not None:
            guest.holds += 1
            if guest.frames is not None and stream is not None:
                guest.frames.watch(stream)

    @property
    def given_back(self) -> bool:
        """Whether the client itself has cancelled the call, for certain."""
        frames = self._guest.frames if self._guest is not None else None
        return frames is not None and self._stream is not None and frames.cancelled(self._stream)

    def close(self) -> None:
        """It is held no more."""
        if self._guest is not None:
            self._guest.holds -= 1
            if self._guest.frames is not None and self._stream is not None:
                self._guest.frames.forget(self._stream)
            self._guest = None


class Doorman:
    """All connections of the gRPC listener. `inner`: a descriptor (O_PATH) of the socket that grpc's server listens on.

    `plain`: there is no TLS.
    """

    def __init__(self, inner: int, plain: bool = True) -> None:
        self._inner = inner
        self._plain = plain
        # In the order in which they were last heard of, the most silent first.
        self._guests: dict[_Front, Caller] = {}
        self._names: dict[str, _Front] = {}
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
        guest = self._names.get(peer.removeprefix(_ABSTRACT))
        return STRANGER if guest is None else guest.caller

    def grip(self, peer: str, stream: int | None) -> Grip | None:
        """Have a term held by a call of that peer; None when too many others hold one already."""
        guest = self._names.get(peer.removeprefix(_ABSTRACT))
        if guest is not None and not guest.holds:
            holders = [other.caller.uid for other in self._guests if other.holds]
            uid = guest.caller.uid
            if len(holders) >= MAX_HOLDERS or (uid is not None and holders.count(uid) >= MAX_HOLDERS_PER_UID):
                return None
        return Grip(guest, stream)

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
        # Three descriptors each: one here, and both ends of the way to grpc's server. They stay, like streams.
        if self._closed or caller is None or too_high_for_a_stream(transport.get_extra_info("socket").fileno()):
            transport.abort()
            return
        if caller.uid is not None:
            mine = [other for other, who in self._guests.items() if who.uid == caller.uid]
            if len(mine) >= MAX_CONNECTIONS_PER_UID:
                self._shed(mine)
        if len(self._guests) >= MAX_CONNECTIONS:
            self._shed(self._guests)
        guest.caller = caller
        guest.frames = Frames() if self._plain and caller.local else None
        self._guests[guest] = caller
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._open(guest))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _shed(self, guests: Iterable[_Front]) -> None:
        # Safety: see test_who_holds_a_term_is_not_shed
        victim = next(guest for guest in guests if not guest.holds)
        self._guests.pop(victim)
        victim.abort()

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

    async def _open(self, guest: _Front) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind("")  # the kernel chooses a free name
            # By the descriptor: the socket has no name in any directory.
            sock.connect(f"/proc/self/fd/{self._inner}")
            guest.name = os.fsdecode(sock.getsockname()[1:])
            self._names[guest.name] = guest
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
        self.caller = STRANGER
        self.frames: Frames | None = None
        self.holds = 0
        """How many terms are held over it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._doorman.admit(self, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._doorman.heard(self)
        super().data_received(data if self.frames is None else self.frames.passed(data))

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
