"""The HTTP surfaces of one daemon, put together: what `daemon.py` starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from leaderd.actions import Actions
from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.election.timing import Timing
from leaderd.metrics import Metrics
from leaderd.surfaces.http.connection import Connection
from leaderd.surfaces.http.feed import Feed
from leaderd.surfaces.http.guards import HostGuard, OperatorGuard
from leaderd.surfaces.http.hold import Holds
from leaderd.surfaces.http.listeners import ListenError, UnixAddress, bind_tcp, bind_unix, serve
from leaderd.surfaces.http.pool import Pool
from leaderd.surfaces.http.probes import Health, Probes
from leaderd.surfaces.http.routes import Routes
from leaderd.surfaces.leaders import LeaderChanges
from leaderd.surfaces.socketfile import BoundSocket
from leaderd.surfaces.view import StoreFacts, View

LISTENERS = ("app", "ops", "socket")
_CLOSE_GRACE_S = 1.0
HostAndPort = tuple[str, int]


class HttpSurfaces:
    """The app listener, the ops listener and the Unix socket; each may be None, which is off.

    What reads is answered alike by all three; changes are for the socket and loopback. `allowed_hosts`: names allowed in `Host`
    besides loopback names and addresses of this machine. `operators`: users who may change things, besides root and our own.
    """

    def __init__(
        self,
        board: Board,
        clock: Clock,
        *,
        http: HostAndPort | None,
        ops: HostAndPort | None,
        unix: UnixAddress | None,
        allowed_hosts: Sequence[str],
        incarnation: str,
        instance_uid: str | None = None,
        store: StoreFacts,
        timing: Timing,
        health: Health,
        metrics: Metrics,
        actions: Actions,
        operators: Collection[int] = (),
    ) -> None:
        self._tcp = {"app": (http, "http"), "ops": (ops, "ops")}
        self._unix = unix
        self._changes = LeaderChanges(board, clock)
        view = View(board, clock, store, timing, incarnation, instance_uid)
        feed = Feed(view, clock.now_s)
        holds = Holds(view)
        self.routes = Routes(view, Probes(health, board, clock), metrics, self._changes, feed, holds, actions)
        metrics.expect_requests(self.routes.names(), LISTENERS)
        guards = HostGuard(allowed_hosts), OperatorGuard(operators)
        self._pool = Pool(board, self.routes, *guards, metrics, clock, (feed.stop, holds.stop))
        self._servers: list[asyncio.Server] = []
        self._file: BoundSocket | None = None
        self.addresses: dict[str, HostAndPort | str] = {}
        """Where we listen, by listener name: (host, port), or the socket's path."""
        self.warning: str | None = None
        """What is odd about it, for the log."""

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return len(self._pool)

    async def start(self) -> None:
        """Listen and answer. Raises `ListenError`, which names all that cannot be had; then nothing is left listening."""
        refused: list[ListenError] = []
        try:
            for name, (address, key) in self._tcp.items():
                try:
                    await self._listen(name, address, key)
                except ListenError as error:
                    refused.append(error)
            # Last: who finds the socket file may take it that all of us is there.
            try:
                await self._listen_on_socket()
            except ListenError as error:
                refused.append(error)
            if refused:
                raise ListenError("; ".join(error.message for error in refused))
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, name: str, address: HostAndPort | None, key: str) -> None:
        if address is not None:
            for sock in await bind_tcp(*address, key):
                self.addresses.setdefault(name, sock.getsockname()[:2])
                self._servers.append(await serve(sock, partial(Connection, self._pool, name)))

    async def _listen_on_socket(self) -> None:
        if self._unix is not None:
            self._file = bind_unix(self._unix)
            self.addresses["socket"] = str(self._file.path)
            self.warning = self._file.warning
            self._servers.append(await serve(self._file.sock, partial(Connection, self._pool, "socket")))

    async def stop(self) -> None:
        """Listen no more; let the answers that are on their way leave; close everything."""
        self._changes.stop()
        if self._file is not None:
            self._file.remove()
            self._file = None
        for server in self._servers:
            server.close()
        self._servers.clear()
        await self._pool.stop(_CLOSE_GRACE_S)
