"""The ZooKeeper store: commands in, one session at a time, events out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from leaderd.election.commands import CloseSession, Command, OpenSession
from leaderd.election.events import Event, SessionFailed
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, NowS, Sink, Traffic
from leaderd.stores.zookeeper.session import Session
from leaderd.stores.zookeeper.transport import Client

_log = logging.getLogger(__name__)
_CLOSE_STEPS, _CLOSE_STEP_S = 50, 0.02


class ZooKeeperStore:
    """The `Store` on ZooKeeper."""

    kind = "zookeeper"
    rule = RULES["zookeeper"]
    keeps_records = True

    def __init__(
        self, address: StoreAddress, identity: Identity, timing: Timing, credentials: Credentials, tls: Tls, now_s: NowS
    ) -> None:
        del timing  # every session names its own ttl
        self.traffic = Traffic()
        self.on_crash: Callable[[BaseException], None] = self._log_crash
        self._address = address
        self._identity = identity
        self._credentials = credentials
        self._tls = tls
        self._now_s = now_s
        self._sink: Sink | None = None
        self._session: Session | None = None
        self._closing: list[Client] = []

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands. Does not need the store to be up."""
        self._sink = sink

    async def aclose(self) -> None:
        """Stop everything. A session that was not closed by command is left to its timeout; one that was gets a second to end."""
        self._sink = None
        if self._session is not None:
            self._put_away(self._session, end=False)
        for _ in range(_CLOSE_STEPS):
            self._closing = [client for client in self._closing if not client.closed()]
            if not self._closing:
                return
            await asyncio.sleep(_CLOSE_STEP_S)

    def submit(self, command: Command) -> None:
        """Carry out one command; its outcome arrives at the sink later."""
        if self._sink is None:
            return
        if isinstance(command, OpenSession):
            self._open(command)
            return
        session = self._session
        if session is None or session.epoch != command.epoch:
            return  # of an earlier session: nothing of it may be answered any more
        if isinstance(command, CloseSession):
            self._put_away(session, end=True)
        else:
            session.submit(command)

    def _open(self, command: OpenSession) -> None:
        if self._session is not None:
            self._put_away(self._session, end=True)

        def make_client(on_state: Callable[[str], None]) -> Client:
            return Client(
                self._address, self._credentials, self._tls, command.ttl_s, self._now_s, self.traffic, on_state, self._crashed
            )

        try:
            session = Session(
                command.epoch,
                command.ttl_s,
                self._address.path,
                self._identity.instance,
                self._now_s,
                self._emit,
                self._crashed,
                make_client,
            )
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            detail = f"cannot read {self._credentials.password_file}: {why}"
            problem = Problem(Outcome.FAILED, Reason.AUTH_FAILED, detail)
            asyncio.get_running_loop().call_soon(self._emit, SessionFailed(command.epoch, problem))
            return
        self._session = session
        session.spawn(session.open())

    def _put_away(self, session: Session, *, end: bool) -> None:
        session.close(end=end)
        self._session = None
        self._closing = [*(client for client in self._closing if not client.closed()), session.client]

    def _emit(self, event: Event) -> None:
        if self._sink is not None:
            self._sink(event)

    def _crashed(self, error: BaseException) -> None:
        self.on_crash(error)

    def _log_crash(self, error: BaseException) -> None:
        _log.critical("the ZooKeeper store failed unexpectedly", exc_info=error)
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the ZooKeeper store failed unexpectedly", "exception": error}
        )
