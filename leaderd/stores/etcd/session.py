"""One session in etcd: its lease, the queues stood in over it, its watch stream, and its renewals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from leaderd.election.commands import Claim, RaiseMark, Renew, Stand, Withdraw, WriteRecord
from leaderd.election.events import (
    Connected,
    Disconnected,
    EntryGone,
    Event,
    RecordRefused,
    RecordSeen,
    RecordWritten,
    SessionGone,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.base import NowS
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import SILENCE, problem_of
from leaderd.stores.etcd.queue import Queue
from leaderd.stores.etcd.records import Records
from leaderd.stores.etcd.renewal import Renewal
from leaderd.stores.etcd.roster import Roster
from leaderd.stores.etcd.watcher import Watcher
from leaderd.stores.etcd.wire import OTHER_CLUSTER, Header, LeaseReply, Txn, TxnReply, Wire, WireError


class Session:
    """A session from its granted lease to its close. After `close` or `gone` its lease is never renewed again."""

    def __init__(
        self,
        epoch: int,
        path: str,
        instance: str,
        granted: LeaseReply,
        client: Client,
        now_s: NowS,
        sink: Callable[[Event], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self.epoch = epoch
        self.lease = granted.lease
        self.ttl_s = granted.ttl_s
        self.confirmed_s = 0.0
        """When the last renewal that was confirmed was sent."""
        self.instance = instance
        self.value = instance.encode()
        self.now_s = now_s
        self._cluster_id = granted.header.cluster_id
        self.path = path
        self._client = client
        self._sink = sink
        self._crashed = crashed
        self._queues: dict[str, Queue] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._gone: Problem | None = None
        self._silence: str | None = None
        self._looking = False
        self.roster = Roster(self)
        self._renewal = Renewal(self, client)
        self.watcher = Watcher(client, self.stream_heard, now_s)
        client.on_moved = self.watcher.move
        self.records = Records(self, lambda *record: self.emit(RecordSeen(self.epoch, *record)))
        self.spawn(self.watcher.run())
        self.spawn(self.records.follow())

    # ---- what the queues use

    def emit(self, event: Event) -> None:
        """Deliver an event, unless the session is closed."""
        if not self._closed:
            self._sink(event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the session closes; an unexpected exception goes to the daemon."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def txn(self, txn: Txn, repeatable: bool) -> TxnReply:
        """Carry out a transaction in the session's own cluster."""

        async def call(wire: Wire, token: str | None) -> TxnReply:
            reply = await wire.txn(txn, token, self._client.timeout_s)
            self.check_cluster(reply.header, wire)
            return reply

        return await self._client.call(call, repeatable)

    @property
    def is_gone(self) -> bool:
        """Whether the store said that the lease does not exist."""
        return self._gone is not None

    def gone(self, problem: Problem) -> None:
        """The store said that the lease does not exist: the end of this session, told once."""
        if self._gone is None:
            self._gone = problem
            for queue in self._queues.values():
                queue.stop()
            self.emit(SessionGone(self.epoch, problem))

    async def look(self) -> None:
        """Ask, without renewing it, whether the lease still exists: a deleted key may mean a revoked lease."""
        if self._looking or self._gone is not None:
            return
        self._looking = True
        try:
            reply = await self._client.call(self._look_up, repeatable=True)
        except WireError:
            return  # the next renewal finds out
        finally:
            self._looking = False
        if reply.ttl_s < 0:
            self.gone(Problem(Outcome.FAILED, Reason.SESSION_GONE, f"the lease {self.lease:x} was revoked, or expired"))

    # ---- commands

    def submit(self, command: Renew | Stand | Claim | Withdraw | RaiseMark | WriteRecord) -> None:
        """Carry out one command."""
        if isinstance(command, Renew):
            self.spawn(self._renewal.renew(command.entries))
        elif isinstance(command, RaiseMark):
            self.spawn(self.queue(command.election).raise_mark(command.mark))
        elif isinstance(command, WriteRecord):
            self.spawn(self._write_record(command))
        elif self._gone is not None and isinstance(command, Stand):
            self.spawn(self._answer(StandFailed(self.epoch, command.election, self._gone)))
        elif self._gone is not None and isinstance(command, Claim):
            self.spawn(self._answer(EntryGone(self.epoch, command.election, self._gone)))
        elif self._gone is not None:
            self.spawn(self._answer(Withdrawn(self.epoch, command.election)))
        else:
            queue = self.queue(command.election)
            if isinstance(command, Stand):
                self.spawn(queue.stand())
            elif isinstance(command, Claim):
                self.spawn(queue.claim(command.token))
            else:
                self.spawn(queue.withdraw(command.token))

    def close(self) -> None:
        """Deliver nothing more, stop everything. The lease is the driver's to revoke."""
        self._closed = True
        self._client.on_moved = None
        for task in self._tasks:
            task.cancel()

    # ---- what the renewal uses

    def queue(self, election: str) -> Queue:
        """Our part in an election, made on first use."""
        if election not in self._queues:
            self._queues[election] = Queue(self, tx.place_of(self.path, election))
        return self._queues[election]

    def next_listed(self) -> tx.Place | None:
        """The election whose queue the next renewal lists: each in turn."""
        queues = list(self._queues.values())
        self._turn += 1
        return queues[self._turn % len(queues)].place if queues else None

    def check_cluster(self, header: Header, wire: Wire) -> None:
        """Refuse an answer from another cluster than the one that granted the lease: it knows nothing of our entries."""
        # Safety: see test_another_cluster_proves_nothing
        if header.cluster_id != self._cluster_id:
            text = f"answers for cluster {header.cluster_id:x}; our session is in cluster {self._cluster_id:x}"
            raise WireError(OTHER_CLUSTER, text, wire.endpoint)

    def renewal_heard(self, problem: Problem | None) -> None:
        """A renewal was answered, or (with a problem) met silence. Only an answered one ends a silence that one met."""
        if problem is None:
            self._set_silence(None, None)
        else:
            self._set_silence("renewal", problem)

    def stream_heard(self, error: WireError | None) -> None:
        """The watch stream works, or (with an error) cannot be opened."""
        if error is not None:
            problem = problem_of(error, "watching")
            if problem.reason in SILENCE:
                self._set_silence(self._silence or "stream", problem)
        elif self._silence == "stream":
            self._set_silence(None, None)

    def _set_silence(self, silence: str | None, problem: Problem | None) -> None:
        before, self._silence = self._silence, silence
        if problem is not None and before is None:
            self.emit(Disconnected(self.epoch, problem))
        elif problem is None and before is not None:
            self.emit(Connected(self.epoch))

    # ---- inside

    async def _look_up(self, wire: Wire, token: str | None) -> LeaseReply:
        reply = await wire.lease_time_to_live(self.lease, token, self._client.timeout_s)
        self.check_cluster(reply.header, wire)
        return reply

    async def _write_record(self, command: WriteRecord) -> None:
        epoch, election, kind = command.epoch, command.election, command.kind
        written = self._gone or await self.records.write(election, kind, command.value, command.version)
        if isinstance(written, int):
            self.emit(RecordWritten(epoch, election, kind, written))
        else:
            self.emit(RecordRefused(epoch, election, kind, written))

    async def _answer(self, event: Event) -> None:
        self.emit(event)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)
