"""What the etcd driver's tests share: a driver that remembers its events, and a small etcd in memory behind the wire protocol."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from leaderd.clock import BootClock
from leaderd.election.commands import Claim, CloseSession, Command, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import Claimed, Elected, Event, Queued, Renewed, SessionFailed, SessionOpened, Withdrawn
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.base import Identity
from leaderd.stores.etcd import EtcdStore
from leaderd.stores.etcd.wire import (
    Compare,
    Delete,
    Found,
    Get,
    Header,
    KeyValue,
    LeaseReply,
    Put,
    Txn,
    TxnReply,
    WatchCancel,
    WatchCreate,
    WatchEvent,
    WatchMessage,
    WireError,
)

E = TypeVar("E")
CLOCK = BootClock(jump_limit_s=3600.0)
MARK = "p/.leaderd/e/mark"


class Driver:
    """A driver as the core would use it: commands in, events remembered."""

    def __init__(
        self, url: str, name: str, ttl_s: float = 3.0, credentials: Credentials | None = None, tls: Tls | None = None
    ) -> None:
        timing = Timing(ttl_s=ttl_s, renew_every_s=ttl_s / 5)
        identity = Identity(name, name + "-1")
        self.store = EtcdStore(parse_address(url), identity, timing, credentials or Credentials(), tls or Tls(), CLOCK.now_s)
        self.store.on_crash = self._crash
        self.crashes: list[BaseException] = []
        self.events: list[Event] = []
        self.epoch = 0
        self.ttl_s = ttl_s
        self._seen = 0
        self._new = asyncio.Event()

    def _crash(self, error: BaseException) -> None:
        self.crashes.append(error)
        self._new.set()

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._new.set()

    async def __aenter__(self) -> Driver:
        await self.store.start(self._take)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.store.submit(CloseSession(self.epoch))
        await self.store.aclose()
        assert not self.crashes, self.crashes

    def submit(self, command: Command) -> None:
        self.store.submit(command)

    async def expect(self, *kinds: type[E], within_s: float = 8.0) -> E:
        """The next event of these kinds since the last one expected."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._seen < len(self.events):
                        event = self.events[self._seen]
                        self._seen += 1
                        if isinstance(event, kinds):
                            return event
                    assert not self.crashes, self.crashes
                    self._new.clear()
                    await self._new.wait()
        except TimeoutError:
            raise AssertionError(f"no {kinds} within {within_s} s; events: {self.events[-8:]}") from None

    async def until(self, condition: Callable[[], Any], within_s: float = 8.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.005)

    async def open(self, within_s: float = 8.0) -> SessionOpened | SessionFailed:
        self.epoch += 1
        self.submit(OpenSession(self.epoch, self.ttl_s))
        return await self.expect(SessionOpened, SessionFailed, within_s=within_s)

    async def stand(self, election: str = "e") -> int:
        self.submit(Stand(self.epoch, election))
        token = (await self.expect(Queued)).token
        assert token is not None
        return token

    async def claim(self, election: str = "e") -> Claimed:
        """Wait to be elected, and claim."""
        elected = await self.expect(Elected)
        self.submit(Claim(self.epoch, election, elected.token, elected.mark))
        return await self.expect(Claimed)

    async def lead(self, election: str = "e") -> int:
        token = await self.stand(election)
        await self.claim(election)
        return token

    async def renew(self, token: int | None = None, election: str = "e") -> Renewed:
        self.renew_soon(token, election)
        return await self.expect(Renewed)

    def renew_soon(self, token: int | None = None, election: str = "e") -> None:
        self.submit(Renew(self.epoch, (Entry(election, token),) if token is not None else ()))

    async def withdraw(self, token: int | None, election: str = "e") -> Withdrawn:
        self.submit(Withdraw(self.epoch, election, token))
        return await self.expect(Withdrawn)


class MiniEtcd:
    """One key space with leases, watches and transactions, by etcd's rules as far as the driver relies on them."""

    def __init__(self) -> None:
        self.cluster_id, self.raft_term, self.revision = 7, 2, 1
        self.keys: dict[bytes, KeyValue] = {}
        self.leases: dict[int, int] = {}
        self.history: list[WatchEvent] = []
        self.compacted = 0
        self.refusal = ""
        self.streams: list[MiniStream] = []
        self._ids = itertools.count(0x1000)

    def header(self) -> Header:
        return Header(self.cluster_id, 1, self.revision, self.raft_term)

    def grant(self, ttl_s: int) -> int:
        lease = next(self._ids)
        self.leases[lease] = ttl_s
        return lease

    def revoke(self, lease: int) -> None:
        if lease not in self.leases:
            raise WireError("NOT_FOUND", "etcdserver: requested lease not found", "mini")
        del self.leases[lease]
        self.apply(Txn((), tuple(Delete(kv.key) for kv in list(self.keys.values()) if kv.lease == lease)))

    def apply(self, txn: Txn) -> TxnReply:
        """Apply a transaction; all its writes are of one revision."""
        if any(isinstance(op, Put) and op.lease and op.lease not in self.leases for op in (*txn.success, *txn.failure)):
            raise WireError("NOT_FOUND", "etcdserver: requested lease not found", "mini")
        events: list[WatchEvent] = []
        succeeded, results = self._run(txn, self.revision + 1, events)
        if events:
            self.revision += 1
            self.history += events
            for stream in self.streams:
                stream.catch_up()
        return TxnReply(self.header(), succeeded, results)

    def _run(self, txn: Txn, revision: int, events: list[WatchEvent]) -> tuple[bool, tuple[Found | TxnReply | None, ...]]:
        succeeded = all(self._holds(compare) for compare in txn.compares)
        results: list[Found | TxnReply | None] = []
        for op in txn.success if succeeded else txn.failure:
            if isinstance(op, Get):
                results.append(self._get(op))
            elif isinstance(op, Txn):
                nested, inner = self._run(op, revision, events)
                results.append(TxnReply(self.header(), nested, inner))
            else:
                self._write(op, revision, events)
                results.append(None)
        return succeeded, tuple(results)

    def _write(self, op: Put | Delete, revision: int, events: list[WatchEvent]) -> None:
        old = self.keys.get(op.key)
        if isinstance(op, Put):
            kv = KeyValue(op.key, old.create_revision if old else revision, revision, op.lease, op.value)
            self.keys[op.key] = kv
            events.append(WatchEvent(False, kv))
        elif old is not None:
            del self.keys[op.key]
            events.append(WatchEvent(True, KeyValue(op.key, 0, revision, 0)))

    def _range(self, key: bytes, end: bytes) -> list[KeyValue]:
        return [kv for k, kv in sorted(self.keys.items()) if (key <= k < end if end else k == key)]

    def _get(self, op: Get) -> Found:
        kvs = [kv for kv in self._range(op.key, op.range_end) if not 0 < op.max_create_revision < kv.create_revision]
        kvs.sort(key=lambda kv: kv.create_revision, reverse=op.newest_first)
        kvs = [KeyValue(kv.key, kv.create_revision, kv.mod_revision, kv.lease) for kv in kvs] if op.keys_only else kvs
        return Found(tuple(kvs[: op.limit] if op.limit else kvs), bool(op.limit) and len(kvs) > op.limit)

    def _holds(self, compare: Compare) -> bool:
        kvs = self._range(compare.key, compare.range_end)
        if not kvs:
            if compare.target == "value":
                return False
            kvs = [KeyValue(compare.key, 0, 0, 0)]
        return all(self._one_holds(compare, kv) for kv in kvs)

    @staticmethod
    def _one_holds(compare: Compare, kv: KeyValue) -> bool:
        actual: Any = {"create": kv.create_revision, "mod": kv.mod_revision, "lease": kv.lease, "value": kv.value}[compare.target]
        operand: Any = compare.operand
        return bool({"=": actual == operand, "!=": actual != operand, "<": actual < operand, ">": actual > operand}[compare.result])

    # ---- an operator's hands

    def put(self, key: str, value: str = "", lease: int = 0) -> int:
        return self.apply(Txn((), (Put(key.encode(), value.encode(), lease),))).header.revision

    def delete(self, key: str) -> None:
        self.apply(Txn((), (Delete(key.encode()),)))

    def names(self, prefix: str) -> list[str]:
        kvs = sorted((kv for kv in self.keys.values() if kv.key.startswith(prefix.encode())), key=lambda kv: kv.create_revision)
        return [kv.value.decode() for kv in kvs]


class MiniStream:
    """A watch stream of `MiniEtcd`."""

    def __init__(self, etcd: MiniEtcd) -> None:
        self._etcd = etcd
        self._inbox: asyncio.Queue[WatchMessage | WireError] = asyncio.Queue()
        self._watches: dict[int, WatchCreate] = {}
        self._next: dict[int, int] = {}
        etcd.streams.append(self)

    def send(self, request: WatchCreate | WatchCancel) -> None:
        if isinstance(request, WatchCancel):
            self._watches.pop(request.watch_id, None)
            return
        self._inbox.put_nowait(WatchMessage(self._etcd.header(), request.watch_id, created=True))
        if self._etcd.refusal:
            refused = WatchMessage(self._etcd.header(), request.watch_id, canceled=True, cancel_reason=self._etcd.refusal)
            self._inbox.put_nowait(refused)
            return
        if 0 < request.start_revision <= self._etcd.compacted:
            compacted = self._etcd.compacted + 1
            self._inbox.put_nowait(WatchMessage(self._etcd.header(), request.watch_id, canceled=True, compact_revision=compacted))
            return
        self._watches[request.watch_id] = request
        self._next[request.watch_id] = request.start_revision or self._etcd.revision + 1
        self.catch_up()

    @property
    def watching(self) -> bool:
        return bool(self._watches)

    def catch_up(self) -> None:
        for number, watch in self._watches.items():
            first = self._next[number]
            events = tuple(
                e
                for e in self._etcd.history
                if (watch.key <= e.kv.key < watch.range_end if watch.range_end else e.kv.key == watch.key)
                and e.kv.mod_revision >= first
                and (e.deleted or not watch.deletes_only)
            )
            if events:
                self._next[number] = events[-1].kv.mod_revision + 1
                self._inbox.put_nowait(WatchMessage(self._etcd.header(), number, events=events))

    async def receive(self) -> WatchMessage:
        message = await self._inbox.get()
        if isinstance(message, WireError):
            raise message
        return message

    def cancel(self) -> None:
        if self in self._etcd.streams:
            self._etcd.streams.remove(self)
        self._inbox.put_nowait(WireError("CANCELLED", "given up", "mini"))

    def break_off(self, code: str = "UNAVAILABLE") -> None:
        if self in self._etcd.streams:
            self._etcd.streams.remove(self)
        self._inbox.put_nowait(WireError(code, "Socket closed", "mini"))


class MiniWire:
    """A connection to `MiniEtcd` whose every call can be made to misbehave.

    `before[name]` is called (and may raise) before the call named reaches the store, `after[name]` may change or refuse its answer.
    """

    def __init__(self, endpoint: str, etcd: MiniEtcd) -> None:
        self.endpoint = endpoint
        self.etcd = etcd
        self.calls: list[str] = []
        self.txns: list[Txn] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[Any], Any]] = {}
        self.token = ""
        self.closed = False

    def _call(self, name: str, token: str | None, work: Callable[[], Any]) -> Any:
        self.calls.append(name)
        self.before.get(name, lambda: None)()
        if self.token and token != self.token:
            raise WireError("UNAUTHENTICATED", "etcdserver: invalid auth token", self.endpoint)
        result = work()
        return self.after.get(name, lambda answer: answer)(result)

    async def txn(self, txn: Txn, token: str | None, timeout_s: float) -> TxnReply:
        self.txns.append(txn)
        return self._call("txn", token, lambda: self.etcd.apply(txn))

    async def lease_grant(self, ttl_s: int, token: str | None, timeout_s: float) -> LeaseReply:
        return self._call("grant", self.token, lambda: LeaseReply(self.etcd.header(), self.etcd.grant(ttl_s), ttl_s))

    async def lease_keep_alive(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        return self._call("keep_alive", self.token, lambda: LeaseReply(self.etcd.header(), lease, self.etcd.leases.get(lease, 0)))

    async def lease_time_to_live(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        return self._call("look_up", token, lambda: LeaseReply(self.etcd.header(), lease, self.etcd.leases.get(lease, -1)))

    async def lease_revoke(self, lease: int, token: str | None, timeout_s: float) -> None:
        self._call("revoke", token, lambda: self.etcd.revoke(lease))

    async def authenticate(self, username: str, password: str, timeout_s: float) -> str:
        return str(self._call("authenticate", self.token, lambda: self.token))

    def watch(self, token: str | None) -> MiniStream:
        self.calls.append("watch")
        return MiniStream(self.etcd)

    async def close(self, grace_s: float) -> None:
        self.closed = True


class MiniDriver(Driver):
    """A driver on `MiniEtcd`, one `MiniWire` per endpoint, made anew after each failure."""

    def __init__(self, etcd: MiniEtcd, name: str, endpoints: int = 1, **options: Any) -> None:
        hosts = ",".join(f"h{i}:1" for i in range(endpoints))
        super().__init__(f"etcd://{hosts}/p", name, **options)
        self.etcd = etcd
        self.wires: list[MiniWire] = []
        self.prepare: Callable[[MiniWire], None] = lambda wire: None
        self.store._connect = self._connect  # type: ignore[method-assign,assignment]

    def _connect(self, endpoint: str) -> MiniWire:
        wire = MiniWire(endpoint, self.etcd)
        self.prepare(wire)
        self.wires.append(wire)
        return wire

    @property
    def wire(self) -> MiniWire:
        """The connection made last."""
        return self.wires[-1]


def refuse(code: str, message: str = "") -> Callable[[], None]:
    def before() -> None:
        raise WireError(code, message, "mini")

    return before


def lose_answer(answer: Any) -> Any:
    raise WireError("DEADLINE_EXCEEDED", "", "mini")


def own_key(etcd: MiniEtcd, name: str) -> str:
    return next(kv.key.decode() for kv in etcd.keys.values() if kv.value == name.encode())
