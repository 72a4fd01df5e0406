# ruff: noqa: ANN401 - kazoo is untyped, and this is where it ends
"""One kazoo client for one session, as the event loop sees it: calls that give futures, states that arrive as callbacks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import KazooException
from kazoo.protocol.serialization import CloseInstance
from kazoo.protocol.states import KazooState
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

from leaderd.election.problems import Problem
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import NowS, Traffic
from leaderd.stores.zookeeper.connection import Connection, Granted, Handler, LastWord
from leaderd.stores.zookeeper.errors import SILENT, BadAnswerError

SUSPENDED = KazooState.SUSPENDED
CONNECTED = KazooState.CONNECTED
LOST = KazooState.LOST
_MIN_CONNECT_S = 0.5
_CLOSE_S = 1.0
"""How long the server may take to confirm the end of a session before we leave it to its timeout."""
_CUT_EVERY_S = 0.05


class Client:
    """One kazoo client. Its thread posts to the event loop and does nothing else there."""

    def __init__(
        self,
        address: StoreAddress,
        credentials: Credentials,
        tls: Tls,
        ttl_s: float,
        now_s: NowS,
        traffic: Traffic,
        on_state: Callable[[str], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        """Raises `OSError` or `UnicodeDecodeError` when a secret cannot be read."""
        self.endpoints = address.endpoints()
        self._loop = asyncio.get_running_loop()
        self._now_s = now_s
        self._traffic = traffic
        self._on_state = on_state
        self._on_crash = on_crash
        self._last_word = LastWord()
        self._closing: threading.Thread | None = None
        logger = logging.Logger("kazoo", logging.WARNING)  # attached to nothing: kazoo tells of every lost packet
        logger.addHandler(self._last_word)
        password = credentials.password()
        secured = credentials.username is not None and password is not None
        connect_s = max(_MIN_CONNECT_S, ttl_s / 3.0 / max(len(address.hosts), 1))
        self._handler = Handler(connect_s, tls if address.tls else None)
        self._kazoo = KazooClient(
            hosts=",".join(self.endpoints),
            timeout=ttl_s,
            handler=self._handler,
            connection_retry={"max_tries": -1, "delay": 0.05, "backoff": 2, "max_delay": 0.4, "ignore_expire": False},
            command_retry={"max_tries": 0},
            auth_data=[("digest", f"{credentials.username}:{password}")] if secured else None,
            default_acl=[*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if secured else None,
            use_ssl=address.tls,
            logger=logger,
        )
        self._connection = Connection(self._kazoo, self._kazoo._conn_retry.copy(), logger, now_s, connect_s)
        self._kazoo._connection = self._connection
        self._kazoo.add_listener(self._state_changed)

    @property
    def granted(self) -> Granted | None:
        """What the server granted; None before it did."""
        return self._connection.granted

    @property
    def reached(self) -> list[tuple[str, int]]:
        """The address that took our connection last, and has not let us in."""
        return self._handler.reached

    @property
    def trouble(self) -> Problem | None:
        """Why nobody lets us in; None as long as somebody did at the last attempt."""
        return self._connection.trouble

    @property
    def last_word(self) -> str:
        """Why the connection broke, as kazoo put it."""
        return self._last_word.text

    def start(self) -> None:
        """Begin to connect; states arrive at `on_state`."""
        self._kazoo.start_async()

    def cut(self) -> None:
        """Give a silent connection up: outstanding calls fail, and the session goes on with the next host that answers."""
        self._connection.cut()

    def close(self, *, end: bool) -> None:
        """End everything, in a thread of its own: it may take its time. `end`: end the session on the server first.

        Without it the connection is only cut: whoever promised something leaves the session to its timeout.
        """
        self._closing = threading.Thread(target=self._close, args=(end,), name="zookeeper-close", daemon=True)
        self._closing.start()

    def closed(self) -> bool:
        """Whether `close` is done."""
        return self._closing is not None and not self._closing.is_alive()

    def _close(self, end: bool) -> None:
        # kazoo's own `stop` waits for a silent server for 2/3 of the session timeout, and then leaves its sockets behind.
        kazoo, connection = self._kazoo, self._connection
        try:
            kazoo._stopped.set()
            if end and kazoo.connected:
                # The server ends the session also if we hear nothing any more: what was written is delivered by the kernel.
                kazoo._call(CloseInstance, kazoo.handler.async_result())
                connection.connection_stopped.wait(_CLOSE_S)
            while not connection.connection_stopped.wait(_CUT_EVERY_S):
                connection.cut()  # again and again: an attempt to connect may be about to succeed
            connection.stop()
            kazoo.close()
        except Exception as error:  # noqa: BLE001 - the server's timeout ends the session then
            self._last_word.text = f"closing: {type(error).__name__}"

    # ---- calls: each starts its request at once, and returns what to wait for

    def create(self, path: str, data: bytes, *, candidate: bool = False) -> asyncio.Future[Any]:
        """Create a node; a candidate's is ephemeral and sequential, and gives (path, stat). Others are made with their parents."""
        if candidate:
            return self._call(self._kazoo.create_async(path, data, ephemeral=True, sequence=True, include_data=True))
        return self._call(self._kazoo.create_async(path, data, makepath=True))

    def delete(self, path: str) -> asyncio.Future[Any]:
        """Delete a node."""
        return self._call(self._kazoo.delete_async(path))

    def get(self, path: str, watch: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """Data and stat of a node, and one call of `watch`, on the loop, when it changes or goes."""
        return self._call(self._kazoo.get_async(path, watch=self._on_loop(watch)))

    def make(self, path: str, data: bytes) -> asyncio.Future[Any]:
        """Create a persistent node where none is; its stat."""
        return self._call(self._kazoo.create_async(path, data, include_data=True), lambda made: made[1])

    def set(self, path: str, data: bytes, version: int) -> asyncio.Future[Any]:
        """Write a node's data if their version is still the one named; its stat."""
        return self._call(self._kazoo.set_async(path, data, version))

    def children(self, path: str, watch: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """The names of a node's children, and one call of `watch`, on the loop, when there are others."""
        return self._call(self._kazoo.get_children_async(path, watch=self._on_loop(watch)))

    def exists(self, path: str) -> asyncio.Future[Any]:
        """The stat of a node, or None. Asked of the nearest server, which may be behind."""
        return self._call(self._kazoo.exists_async(path))

    async def rules(self, path: str) -> list[Any]:
        """The access rules of a node."""
        found, _ = await self._call(self._kazoo.get_acls_async(path))
        return list(found)

    def sync(self, path: str) -> asyncio.Future[Any]:
        """Have the server we are connected to catch up with its leader, before the calls that follow."""
        return self._call(self._kazoo.sync_async(path))

    def multi(self, build: Callable[[TransactionRequest], None]) -> asyncio.Future[Any]:
        """All or nothing; a list with a result or an exception for each operation. Proposed to the quorum, even if it fails."""
        transaction = self._kazoo.transaction()
        build(transaction)
        return self._call(transaction.commit_async())

    # ---- inside

    def _call(self, started: Any, take: Callable[[Any], Any] | None = None) -> asyncio.Future[Any]:
        self._traffic.requests += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        started.rawlink(lambda result: self._post(self._settle, future, result, take))
        return future

    def _settle(self, future: asyncio.Future[Any], result: Any, take: Callable[[Any], Any] | None = None) -> None:
        error = result.exception
        if not isinstance(error, SILENT):
            self._traffic.last_answer_s = self._now_s()
        if future.done():
            return
        if error is None:
            future.set_result(result.value if take is None else take(result.value))
        else:
            future.set_exception(error if isinstance(error, KazooException) else BadAnswerError(type(error).__name__))
            future.exception()  # looked at: nobody may be waiting any more

    def _on_loop(self, watch: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
        return (lambda event: self._post(watch, event)) if watch is not None else None

    def _state_changed(self, state: str) -> None:
        # On kazoo's connection thread: nothing may be asked of ZooKeeper here.
        self._post(self._on_state, state)

    def _post(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._guarded, callback, *args)
        except RuntimeError:
            pass  # the loop is closed: the process is going down

    def _guarded(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - asyncio would log it and go on; the daemon ends leadership first
            self._on_crash(error)
