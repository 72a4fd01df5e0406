"""The Consul store: commands in, one task for each, events out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from leaderd.election.commands import Claim, CloseSession, Command, OpenSession, RaiseMark, Renew, Stand, Withdraw, WriteRecord
from leaderd.election.events import Connected, Disconnected, Event, RecordRefused, RecordSeen, RecordWritten, SessionOpened
from leaderd.election.problems import Problem
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, NowS, Sink, Traffic
from leaderd.stores.consul.agents import Agents
from leaderd.stores.consul.contest import Contest
from leaderd.stores.consul.records import Records
from leaderd.stores.consul.session import Session, backoff_s
from leaderd.stores.consul.wire import Keys

_log = logging.getLogger(__name__)
_CLOSE_S = 1.0
_AFTER_YOU_S = 0.03
_LEFTOVERS = 4
T = TypeVar("T")


class _Epoch:
    """One session with its elections and everything that runs for it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.records = Records(session, lambda *record: session.emit(RecordSeen(session.epoch, *record)))
        self.contests: dict[str, Contest] = {}
        self.tasks: set[asyncio.Task[Any]] = set()


class ConsulStore:
    """The `Store` on Consul's HTTP API. `traffic` counts requests; every election that is stood in also keeps one blocking query
    open, renewed every five minutes, and so do the session and the records."""

    kind = "consul"
    rule = RULES["consul"]
    keeps_records = True

    def __init__(
        self, address: StoreAddress, identity: Identity, timing: Timing, credentials: Credentials, tls: Tls, now_s: NowS
    ) -> None:
        del timing  # every session names its own ttl
        self.traffic = Traffic()
        self.on_crash: Callable[[BaseException], None] = self._log_crash
        """Called on the event loop with an exception nobody expected; the daemon ends leadership, then itself."""
        self._identity = identity
        self._now_s = now_s
        self._keys = Keys(address.path)
        self._agents = Agents(address, credentials, tls, self.traffic, now_s)
        self._agents.on_transport = self._transport
        self._sink: Sink | None = None
        self._epoch: _Epoch | None = None
        self._closing: set[asyncio.Task[Any]] = set()
        self._left: list[_Epoch] = []
        self._connected = True

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands. Does not need the store to be up."""
        self._sink = sink

    async def aclose(self) -> None:
        """Stop everything. A session being closed gets a second to be released and destroyed."""
        self._sink = None
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=_CLOSE_S)
        running = set(self._closing)
        if self._epoch is not None:
            self._epoch.session.closed = True
            running |= self._epoch.tasks
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._agents.close()

    def submit(self, command: Command) -> None:
        """Carry out one command; its outcome arrives at the sink later."""
        if self._sink is None:
            return
        if isinstance(command, OpenSession):
            self._open(command)
            return
        epoch = self._epoch
        if epoch is None or epoch.session.epoch != command.epoch or epoch.session.closed:
            return  # of an earlier session: nothing of it may be answered any more
        match command:
            case Renew(entries=entries):
                self._spawn(epoch, epoch.session.renew(entries))
            case CloseSession():
                self._close(epoch)
            case Stand(election=election):
                self._spawn(epoch, self._contest(epoch, election).stand())
            case Claim(election=election, token=token, mark=mark):
                contest = self._contest(epoch, election)
                if not contest.accepts(token, mark):
                    self._spawn(epoch, contest.claim(token, mark))
            case Withdraw(election=election, token=token):
                self._spawn(epoch, self._contest(epoch, election).withdraw(token))
            case RaiseMark(election=election, mark=mark):
                self._spawn(epoch, self._contest(epoch, election).raise_mark(mark))
            case WriteRecord():
                self._spawn(epoch, self._write_record(epoch, command))

    # ---- inside

    def _open(self, command: OpenSession) -> None:
        if self._epoch is not None and not self._epoch.session.closed:
            self._close(self._epoch)
        session = Session(command.epoch, command.ttl_s, self._keys, self._identity, self._agents, self._now_s, self._emit)
        epoch = self._epoch = _Epoch(session)
        self._spawn(epoch, session.open(lambda work: self._run(work, self._closing)))

    def _close(self, epoch: _Epoch) -> None:
        epoch.session.closed = True
        self._run(self._put_away(epoch), self._closing)

    async def _put_away(self, epoch: _Epoch) -> None:
        """Release what is held, then destroy the session; in the background, since the next session must not wait for it.

        Tried for as long as the session would live, and once more when the next one is open: servers that come back give every
        session its full time anew. Destroyed without being released before, the locks would be held back for the lock-delay.
        """
        session, attempts = epoch.session, 0
        give_up_s = self._now_s() + 2 * session.asked_ttl_s
        while session.id and self._now_s() < give_up_s:  # without an id it is still opening: `Session.open` destroys what it gets
            released = await self._released(epoch)
            # Everything held is free by now, and a successor is writing to acquire and claim it: our own write need not get in
            # its way.
            await asyncio.sleep(_AFTER_YOU_S)
            if released and await session.destroyed(session.id):
                return
            attempts += 1
            await asyncio.sleep(backoff_s(attempts))
        if session.id:
            self._left = [*self._left, epoch][-_LEFTOVERS:]

    async def _released(self, epoch: _Epoch) -> bool:
        """Release what is held under a session; False if that may yet succeed later."""
        releases = [self._run(contest.close(), self._closing) for contest in epoch.contests.values()]
        late: set[asyncio.Task[bool]] = set()
        if releases:
            _, late = await asyncio.wait(releases, timeout=4 * epoch.session.call_s)
        for task in (*late, *epoch.tasks):
            task.cancel()
        return not late and all(task.result() for task in releases if not task.cancelled() and task.exception() is None)

    def _contest(self, epoch: _Epoch, election: str) -> Contest:
        found = epoch.contests.get(election)
        if found is None:
            spawn = partial(self._spawn, epoch)
            found = epoch.contests[election] = Contest(epoch.session, election, epoch.records, spawn)
        return found

    async def _write_record(self, epoch: _Epoch, command: WriteRecord) -> None:
        election, kind = command.election, command.kind
        written = await epoch.records.write(election, kind, command.value, command.version)
        if isinstance(written, int):
            epoch.session.emit(RecordWritten(command.epoch, election, kind, written))
        else:
            epoch.session.emit(RecordRefused(command.epoch, election, kind, written))

    def _emit(self, event: Event) -> None:
        if self._sink is None:
            return
        self._sink(event)
        if isinstance(event, SessionOpened):
            if self._epoch is not None and self._epoch.session.epoch == event.epoch:
                self._spawn(self._epoch, self._epoch.records.watch())
            left, self._left = self._left, []
            for epoch in left:
                self._run(self._put_away(epoch), self._closing)

    def _transport(self, problem: Problem | None) -> None:
        connected = problem is None
        if connected is self._connected:
            return
        self._connected = connected
        if self._epoch is not None and self._epoch.session.id:
            number = self._epoch.session.epoch
            self._epoch.session.emit(Connected(number) if problem is None else Disconnected(number, problem))

    def _spawn(self, epoch: _Epoch, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._run(work, epoch.tasks)

    def _run(self, work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.on_crash(error)

    def _log_crash(self, error: BaseException) -> None:
        _log.critical("the Consul store failed unexpectedly", exc_info=error)
        asyncio.get_running_loop().call_exception_handler({"message": "the Consul store failed unexpectedly", "exception": error})
