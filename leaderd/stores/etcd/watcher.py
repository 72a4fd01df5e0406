"""One watch stream for all elections of a session, resumed where it broke.

A watch remembers the revision up to which it has seen everything; a new stream, to whatever endpoint, continues from there, so a
broken stream loses no event and means nothing by itself. Where the store has compacted that revision away the listener is told
to read again. A stream that is silently stuck is made good by the renewals, which read the same keys.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from leaderd.stores.base import NowS
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import is_token_refused
from leaderd.stores.etcd.wire import BAD_REPLY, WatchCancel, WatchCreate, WatchEvent, WatchMessage, WatchStream, WireError

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_STEADY_S = 1.0
_CANCEL_AFTER_S = 0.05
"""Watches end when an entry leaves or its turn comes: the cancellation is in nobody's way then, and sent a moment later."""


class Listener(Protocol):
    """Who wants to hear of changes of one key, or of those in a range."""

    def changed(self, event: WatchEvent) -> None:
        """A key changed. Changes under one watch are told in the order of their revisions; between two watches there is none."""

    def missed(self) -> None:
        """Changes may have been missed: the watch has ended, read again."""


class FreshListener(Listener, Protocol):
    """Who wants to hear of changes as they happen, without one of the past."""

    def begun(self) -> None:
        """From now on every change is told, before those of other keys that happen after it."""


@dataclass(slots=True)
class _Watch:
    key: bytes
    start_revision: int
    deletes_only: bool
    range_end: bytes
    listener: Listener
    fresh: FreshListener | None = None
    optional: bool = False


class Watcher:
    """Watches over one stream. `report` hears of a stream that cannot be opened, and of one that works again."""

    def __init__(self, client: Client, report: Callable[[WireError | None], None], now_s: NowS) -> None:
        self._client = client
        self._now_s = now_s
        self._report = report
        self._ids = itertools.count(1)
        self._watches: dict[int, _Watch] = {}
        self._stream: WatchStream | None = None
        self._endpoint = ""
        self._opened = False
        self._some = asyncio.Event()

    def add(
        self, key: bytes, start_revision: int, listener: Listener, *, deletes_only: bool = False, range_end: bytes = b""
    ) -> int:
        """Watch `key`, or the range up to `range_end`, from `start_revision` on (0: from now on); returns the watch's number."""
        return self._start(_Watch(key, start_revision, deletes_only, range_end, listener))

    def add_fresh(self, key: bytes, listener: FreshListener) -> int:
        """Watch `key` from now on, and only as long as this stream lasts; returns the watch's number.

        A server tells a stream of changes as they are made (etcd: server/storage/mvcc/watchable_store.go, `notify`), but lets
        watches that begin in the past catch up one by one, up to 100 ms later. One that begins now is never late.
        """
        return self._start(_Watch(key, 0, False, b"", listener, listener))

    def add_optional(self, key: bytes, range_end: bytes, start_revision: int, listener: Listener) -> int:
        """Watch a range that the others can do without: where a permission is missing, it is given up first; returns its number.

        A server refuses one watch of a stream without saying which.
        """
        return self._start(_Watch(key, start_revision, False, range_end, listener, optional=True))

    def _start(self, watch: _Watch) -> int:
        number = next(self._ids)
        self._watches[number] = watch
        if self._stream is not None:
            self._stream.send(_create(number, watch))
        self._some.set()
        return number

    def drop(self, number: int) -> None:
        """Stop a watch; nothing more is heard of it."""
        stream = self._stream
        if self._watches.pop(number, None) is not None and stream is not None:
            asyncio.get_running_loop().call_later(_CANCEL_AFTER_S, self._cancel, stream, number)

    def _cancel(self, stream: WatchStream, number: int) -> None:
        if stream is self._stream:  # a later one never had it
            stream.send(WatchCancel(number))

    def move(self) -> None:
        """The connection was given up: open the stream anew on the next one."""
        if self._stream is not None:
            self._stream.cancel()

    async def run(self) -> None:
        """Keep the stream open, for ever."""
        failures = 0
        while True:
            await self._some.wait()
            begun_s = self._now_s()
            error = await self._one_stream()
            # One broken stream is routine (a member restarts); a second one soon after is worth telling, and worth a pause.
            failures = 1 if self._now_s() - begun_s >= _STEADY_S and self._opened else failures + 1
            if failures > 1:
                self._report(error)
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 2, 10))
                await asyncio.sleep(pause_s * (0.5 + 0.5 * random.random()))  # noqa: S311 - jitter, no secret

    async def _one_stream(self) -> WireError:
        """Open a stream and follow it until it breaks; returns why it did."""
        self._opened = False
        token: str | None = None
        try:
            wire = self._client.wire()
        except WireError as e:
            return e
        self._endpoint = wire.endpoint
        try:
            token = await self._client.token(wire)
            self._stream = wire.watch(token)
            await self._open(self._stream)
            while True:
                self._take(await self._stream.receive())
        except WireError as e:
            self._client.blame(wire, e)
            if is_token_refused(e):
                await self._try_new_token(token)
            elif e.code == "PERMISSION_DENIED":
                self._end([number for number, watch in self._watches.items() if watch.optional])
            return e
        finally:
            if self._stream is not None:
                self._stream.cancel()
                self._stream = None
            self._end([number for number, watch in self._watches.items() if watch.fresh is not None])

    def _end(self, numbers: list[int]) -> None:
        for watch in [self._watches.pop(number) for number in numbers]:
            watch.listener.missed()

    async def _open(self, stream: WatchStream) -> None:
        """Ask for every watch and wait for the first word. A stream that says nothing within a call's deadline is broken."""
        for number, watch in self._watches.items():
            stream.send(_create(number, watch))
        try:
            async with asyncio.timeout(self._client.timeout_s if self._watches else None):
                self._take(await stream.receive())
        except TimeoutError:
            raise WireError("DEADLINE_EXCEEDED", "a watch was not answered", self._endpoint) from None
        self._opened = True
        self._report(None)

    async def _try_new_token(self, refused: str | None) -> None:
        try:
            await self._client.new_token(self._client.wire(), refused)
        except WireError:
            pass  # the next attempt, or the next renewal, meets the same refusal and reports it

    def _take(self, message: WatchMessage) -> None:
        watch = self._watches.get(message.watch_id)
        if watch is None:
            # Dropped meanwhile; a stream that cannot carry watches at all answers with the number -1.
            if message.canceled and message.watch_id < 0:
                raise _refusal(message, self._endpoint)
            return
        if message.canceled:
            if message.compact_revision <= 0:
                raise _refusal(message, self._endpoint)
            del self._watches[message.watch_id]
            watch.listener.missed()
        elif message.events:
            watch.start_revision = max(watch.start_revision, message.events[-1].kv.mod_revision + 1)
            for event in message.events:
                if message.watch_id in self._watches:
                    watch.listener.changed(event)
        elif not message.created or watch.start_revision == 0:
            # A progress notice, or a watch "from now on" that has learnt when now is.
            watch.start_revision = max(watch.start_revision, message.header.revision + 1)
            if message.created and watch.fresh is not None:
                watch.fresh.begun()


def _create(number: int, watch: _Watch) -> WatchCreate:
    return WatchCreate(number, watch.key, watch.start_revision, watch.deletes_only, watch.range_end)


def _refusal(message: WatchMessage, endpoint: str) -> WireError:
    reason = message.cancel_reason or "etcdserver: the watch was cancelled"
    if "permission denied" in reason:
        return WireError("PERMISSION_DENIED", reason, endpoint)
    if "auth" in reason or "user name" in reason:
        return WireError("UNAUTHENTICATED", reason, endpoint)
    return WireError(BAD_REPLY, reason, endpoint)
