"""The etcd driver: commands in, events out. What it guarantees is `stores/base.py`'s list; how, `queue` and `renewal` say."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from leaderd.election.commands import CloseSession, Command, OpenSession
from leaderd.election.events import Event, SessionFailed, SessionOpened
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, NowS, Sink, Traffic
from leaderd.stores.etcd.channel import GrpcWire
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import is_hung_up, problem_of
from leaderd.stores.etcd.farewell import Farewells
from leaderd.stores.etcd.session import Session
from leaderd.stores.etcd.wire import BAD_REPLY, LeaseReply, Wire, WireError
from leaderd.stores.stranger import explained

_log = logging.getLogger(__name__)
_SHORTEST_CALL_S = 0.25
_LONGEST_CALL_S = 3.0
_LAST_WORDS_S = 1.5


def call_deadline_s(ttl_s: float) -> float:
    """The deadline of one call: several must fit into a ttl, and a human waits for none longer than a few seconds."""
    return min(max(ttl_s / 6.0, _SHORTEST_CALL_S), _LONGEST_CALL_S)


class EtcdStore:
    """Elections in etcd 3.4 and later. Nothing connects before the first `OpenSession`."""

    kind = "etcd"
    rule = RULES["etcd"]
    keeps_records = True

    def __init__(
        self, address: StoreAddress, identity: Identity, timing: Timing, credentials: Credentials, tls: Tls, now_s: NowS
    ) -> None:
        self.traffic = Traffic()
        self.on_crash: Callable[[BaseException], None] = _raise_in_loop
        self._address = address
        self._identity = identity
        self._timing = timing
        self._credentials = credentials
        self._tls = tls if address.tls else None
        self._now_s = now_s
        self._sink: Sink | None = None
        self._client: Client | None = None
        self._session: Session | None = None
        self._opening: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._farewells: Farewells | None = None

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands."""
        self._sink = sink
        # A fleet spreads over the endpoints: each process begins at one of its own.
        start = sum(self._identity.incarnation.encode())
        self._client = Client(self._address.endpoints(), start, self._credentials, self._connect, self._spawn, self._now_s)
        self._client.timeout_s = call_deadline_s(self._timing.ttl_s)
        self._farewells = Farewells(self._client, self._spawn)

    def submit(self, command: Command) -> None:
        """Carry out one command; commands of a session that is not open any more are dropped, as its events would be."""
        if self._client is None:
            return
        if isinstance(command, OpenSession):
            self._end_session()
            self._opening = command.epoch
            self._spawn(self._open(self._client, command))
        elif isinstance(command, CloseSession):
            if self._opening == command.epoch:
                self._opening = None
            if self._session is not None and self._session.epoch == command.epoch:
                self._end_session()
        elif self._session is not None and self._session.epoch == command.epoch:
            self._session.submit(command)

    async def aclose(self) -> None:
        """Stop everything; a revocation under way gets a moment to arrive."""
        if self._session is not None:
            self._session.close()
            self._session = None
        self._opening = None
        self._sink = None
        if self._farewells is not None:
            await self._farewells.wait(_LAST_WORDS_S)
        client, self._client = self._client, None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_S)
        if client is not None:
            await client.aclose()

    # ---- inside

    async def _open(self, client: Client, command: OpenSession) -> None:
        sent_at_s = self._now_s()
        client.timeout_s = call_deadline_s(command.ttl_s)
        # etcd counts whole seconds, and takes what is asked for as a minimum; what it granted is what counts.
        ttl_s = max(1, math.ceil(command.ttl_s))

        async def grant(wire: Wire, token: str | None) -> LeaseReply:
            nonlocal sent_at_s
            sent_at_s = self._now_s()
            reply = await wire.lease_grant(ttl_s, token, client.timeout_s)
            if reply.lease <= 0 or not 0 < reply.ttl_s <= self.rule.max_ttl_s:
                raise WireError(BAD_REPLY, f"granted lease {reply.lease:x} for {reply.ttl_s} s", wire.endpoint)
            return reply

        try:
            granted = await client.call(grant, repeatable=True)
        except WireError as e:
            problem = await explained(self._opening_problem(e), self.kind, self._reached(e))
            if self._opening == command.epoch:
                self._opening = None
                self._emit(SessionFailed(command.epoch, problem))
            return
        if self._opening != command.epoch:
            self._revoke(granted.lease)
            return
        self._opening = None
        client.timeout_s = call_deadline_s(granted.ttl_s)
        self._session = Session(
            command.epoch, self._address.path, self._identity.instance, granted, client, self._now_s, self._emit, self._crashed
        )
        self._emit(SessionOpened(command.epoch, sent_at_s, float(granted.ttl_s)))
        if self._farewells is not None:
            self._farewells.again()

    def _opening_problem(self, error: WireError) -> Problem:
        if "too large lease TTL" in error.message:
            return Problem(Outcome.FAILED, Reason.TTL_REFUSED, problem_of(error).detail)
        return problem_of(error, "opening a session")

    def _reached(self, error: WireError) -> list[tuple[str, int]]:
        """Where a connection was taken, if it was."""
        where = dict(zip(self._address.endpoints(), self._address.hosts, strict=True)).get(error.endpoint)
        return [where] if where is not None and is_hung_up(error) else []

    def _end_session(self) -> None:
        """Close the session and revoke its lease in the background: its entries go at once instead of at the end of the ttl."""
        session, self._session = self._session, None
        self._opening = None
        if session is None:
            return
        session.close()
        if not session.is_gone:
            self._revoke(session.lease)

    def _revoke(self, lease: int) -> None:
        if self._farewells is not None:
            self._farewells.revoke(lease)

    def _connect(self, endpoint: str) -> Wire:
        return GrpcWire(endpoint, self._tls, self._requested, self._answered)

    def _requested(self) -> None:
        self.traffic.requests += 1

    def _answered(self) -> None:
        self.traffic.last_answer_s = self._now_s()

    def _emit(self, event: Event) -> None:
        if self._sink is not None:
            self._sink(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)

    def _crashed(self, error: BaseException) -> None:
        _log.critical("the etcd driver failed: %r", error)
        self.on_crash(error)


def _raise_in_loop(error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "the etcd driver failed", "exception": error})
