# ruff: noqa: ANN401 - kazoo is untyped, and this is where it ends
"""kazoo as session and transport: one client per session, its threads bridged to the event loop, its traps closed.

What is private to kazoo and used here nevertheless: the connection handler and its `_invoke`, because the negotiated timeout is
told to nobody else. `kazoo>=2.11,<2.12` is pinned for that, and `test_the_negotiated_timeout_is_known` guards it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient, TransactionRequest
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import Connect
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import NowS, Traffic

MIN_CONNECT_S = 0.5
SUSPENDED = KazooState.SUSPENDED
CONNECTED = KazooState.CONNECTED
LOST = KazooState.LOST


class _LastWord(logging.Handler):
    """Keeps the last warning of kazoo's connection loop: it says why nobody lets us in. Nothing of it is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage().splitlines()[0][:200]


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo lets a connection attempt to a silent host take the whole session timeout; then no other host is tried in time."""

    def __init__(self, connect_s: float) -> None:
        super().__init__()
        self._connect_s = connect_s

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = min(kwargs.get("timeout") or self._connect_s, self._connect_s)
        return super().create_connection(*args, **kwargs)


class _Connection(ConnectionHandler):  # type: ignore[misc]
    """Keeps what the server granted, and when it was asked."""

    def __init__(self, client: KazooClient, retry: KazooRetry, logger: logging.Logger, now_s: NowS) -> None:
        super().__init__(client, retry, logger=logger)
        self._now_s = now_s
        self.negotiated_ms: int | None = None
        self.asked_at_s: float | None = None

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        if not isinstance(request, Connect):
            return super()._invoke(timeout, request, xid)
        asked_at_s = self._now_s()
        result = super()._invoke(timeout, request, xid)
        if result[0].time_out > 0:
            self.asked_at_s, self.negotiated_ms = asked_at_s, int(result[0].time_out)
        return result


class Client:
    """One kazoo client for one session. Everything but the kazoo threads themselves happens on the event loop."""

    def __init__(
        self,
        address: StoreAddress,
        credentials: Credentials,
        tls: Tls,
        ttl_s: float,
        now_s: NowS,
        traffic: Traffic,
        on_state: Callable[[str], None],
    ) -> None:
        """Raises `OSError` when a secret cannot be read."""
        self.endpoints = address.endpoints()
        self._loop = asyncio.get_running_loop()
        self._now_s = now_s
        self._traffic = traffic
        self._on_state = on_state
        self._last_word = _LastWord()
        self._closing: threading.Thread | None = None
        logger = logging.Logger("kazoo")  # of our own, attached to nothing: kazoo tells of every lost packet
        logger.addHandler(self._last_word)
        retry = {"max_tries": -1, "delay": 0.05, "backoff": 2, "max_delay": 0.4, "ignore_expire": False}
        password = credentials.password()
        secured = credentials.username is not None and password is not None
        self._kazoo = KazooClient(
            hosts=",".join(address.endpoints()),
            timeout=ttl_s,
            handler=_Handler(max(MIN_CONNECT_S, ttl_s / 3.0 / max(len(address.hosts), 1))),
            connection_retry=retry,
            command_retry={"max_tries": 0},
            auth_data=[("digest", f"{credentials.username}:{password}")] if secured else None,
            default_acl=[*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if secured else None,
            use_ssl=address.tls,
            ca=str(tls.ca_file) if tls.ca_file else None,
            certfile=str(tls.cert_file) if tls.cert_file else None,
            keyfile=str(tls.key_file) if tls.key_file else None,
            verify_certs=True,
            check_hostname=address.tls,
            logger=logger,
        )
        self._connection = _Connection(self._kazoo, self._kazoo._conn_retry.copy(), logger, now_s)
        self._kazoo._connection = self._connection
        self._kazoo.add_listener(self._state_changed)

    @property
    def negotiated_s(self) -> float | None:
        """The session timeout the server granted; None before it did."""
        granted_ms = self._connection.negotiated_ms
        return granted_ms / 1000.0 if granted_ms is not None else None

    @property
    def asked_at_s(self) -> float | None:
        """When the request that was granted left, seconds since boot."""
        return self._connection.asked_at_s

    @property
    def session_id(self) -> int:
        """The session's number, 0 before there is one."""
        client_id = self._kazoo.client_id
        return int(client_id[0] or 0) if client_id else 0

    @property
    def last_word(self) -> str:
        """Why the last connection attempt failed, as kazoo put it."""
        return self._last_word.text

    def start(self) -> None:
        """Begin to connect; states arrive at `on_state`."""
        self._kazoo.start_async()

    def close(self, *, end: bool) -> None:
        """End every thread, in a thread of its own: it may take its time. `end`: end the session on the server first.

        Without it the connection is only cut: whoever promised something leaves the session to its timeout.
        """
        self._closing = threading.Thread(target=self._close, args=(end,), name="zookeeper-close", daemon=True)
        self._closing.start()

    def closed(self) -> bool:
        """Whether `close` is done."""
        return self._closing is not None and not self._closing.is_alive()

    def _close(self, end: bool) -> None:
        try:
            if not end:
                self._kazoo._stopped.set()
                if self._connection._socket is not None:
                    self._connection._socket.shutdown(socket.SHUT_RDWR)
                self._kazoo._safe_close()
            self._kazoo.stop()
            self._kazoo.close()
        except Exception as error:  # noqa: BLE001 - the server's timeout ends the session then
            self._last_word.text = f"closing: {type(error).__name__}"

    # ---- calls: each starts its request at once, and returns what to wait for

    def create(self, path: str, data: bytes, *, candidate: bool = False) -> asyncio.Future[Any]:
        """Create a node; a candidate's is ephemeral and sequential, and gives (path, stat)."""
        if candidate:
            return self._call(self._kazoo.create_async(path, data, ephemeral=True, sequence=True, include_data=True))
        return self._call(self._kazoo.create_async(path, data, makepath=True))

    def delete(self, path: str) -> asyncio.Future[Any]:
        """Delete a node."""
        return self._call(self._kazoo.delete_async(path))

    def get(self, path: str, watch: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """Data and stat of a node, and one call of `watch`, on the loop, when it changes or goes."""
        return self._call(self._kazoo.get_async(path, watch=self._on_loop(watch)))

    def children(self, path: str) -> asyncio.Future[Any]:
        """The names of a node's children."""
        return self._call(self._kazoo.get_children_async(path))

    def sync(self, path: str) -> asyncio.Future[Any]:
        """Have the server we are connected to catch up with its leader, before the calls that follow."""
        return self._call(self._kazoo.sync_async(path))

    def multi(self, build: Callable[[TransactionRequest], None]) -> asyncio.Future[Any]:
        """All or nothing; a list with a result or an exception for each operation. Proposed to the quorum, even if it fails."""
        transaction = self._kazoo.transaction()
        build(transaction)
        return self._call(transaction.commit_async())

    # ---- inside

    def _call(self, started: Any) -> asyncio.Future[Any]:
        self._traffic.requests += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        started.rawlink(lambda result: self._post(self._settle, future, result))
        return future

    def _settle(self, future: asyncio.Future[Any], result: Any) -> None:
        if result.exception is None:
            self._traffic.last_answer_s = self._now_s()
        if future.done():
            return
        if result.exception is None:
            future.set_result(result.value)
        else:
            future.set_exception(result.exception)
            future.exception()  # looked at: nobody may be waiting any more

    def _on_loop(self, watch: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
        return (lambda event: self._post(watch, event)) if watch is not None else None

    def _state_changed(self, state: str) -> None:
        # On kazoo's connection thread: nothing may be asked of ZooKeeper here.
        self._post(self._on_state, state)

    def _post(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            pass  # the loop is closed: the process is going down
