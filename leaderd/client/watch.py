"""Watching: how things stand now, and each change of it, heard from the daemon as it happens."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import NamedTuple

from leaderd.client.errors import DaemonUnreachable, LeaderdError
from leaderd.client.line import Line
from leaderd.client.term import Term

_LONGEST_WAIT_S = 1.0
_AGAIN_S = 0.2


class Change(NamedTuple):
    """What `watch` tells: whether we lead now, and in which term."""

    leader: bool
    token: int | None


_NO = Change(False, None)


class Watcher:
    """One watch: a stream that is opened again whenever it breaks. `connect` opens one."""

    def __init__(self, connect: Callable[[], Line]) -> None:
        self._connect = connect
        self._closing = threading.Event()
        self._line: Line | None = None
        self._until_ns = 0
        self._last: Change | None = None

    def changes(self) -> Iterator[Change]:
        """Each change, blocking in between; ends when closed."""
        try:
            while not self._closing.is_set():
                found = self._next()
                if found is not None and found != self._last:
                    self._last = found
                    yield found
        finally:
            self.close()
            if self._line is not None:
                self._line.close()

    def close(self) -> None:
        """End it, from any thread."""
        self._closing.set()
        if self._line is not None:
            self._line.shutdown()

    def _next(self) -> Change | None:
        """How things stand, as far as anything new is known of it."""
        left_s = (self._until_ns - clock_gettime_ns(CLOCK_BOOTTIME)) / 1e9
        if left_s <= 0 and self._last is not None and self._last.leader:
            return _NO  # nobody has told us of a later deadline
        wait_s = min(_LONGEST_WAIT_S, left_s) if left_s > 0 else _LONGEST_WAIT_S
        try:
            if self._line is None:
                self._line = self._connect()
            event = self._line.next(wait_s)
            return None if event is None else self._heard(self._line, event[1])
        except (OSError, LeaderdError):
            if self._line is not None:
                self._line.close()
                self._line = None
                return None
            self._closing.wait(min(_AGAIN_S, wait_s))
            return _NO if left_s <= 0 else None

    def _heard(self, line: Line, body: dict[str, object]) -> Change:
        if body.get("leader") is not True:
            self._until_ns = 0
            return _NO
        self._until_ns = line.until_ns(body, lease=True)
        token = body.get("token")
        led = isinstance(token, int) and self._until_ns > clock_gettime_ns(CLOCK_BOOTTIME)
        return Change(True, token) if led and isinstance(token, int) else _NO


class Constant(Watcher):
    """Nothing ever changes: for a leader that is pretended."""

    def __init__(self, term: Term | None) -> None:
        super().__init__(no_line)
        self._term = term

    def changes(self) -> Iterator[Change]:
        """One, and then silence."""
        yield _NO if self._term is None else Change(True, self._term.token)
        self._closing.wait()


def no_line() -> Line:
    """In place of a stream, where there is no daemon."""
    raise DaemonUnreachable("there is no daemon")


class Watch:
    """`for change in leader.watch()`, or `async for`; see `Leader.watch`."""

    def __init__(self, watcher: Callable[[], Watcher]) -> None:
        self._watcher = watcher

    def __iter__(self) -> Iterator[Change]:
        """Block between changes."""
        return self._watcher().changes()

    async def __aiter__(self) -> AsyncIterator[Change]:
        """Wait between changes; whoever is slow misses what came between, never how things are."""
        import asyncio

        loop, watcher, latest, news = asyncio.get_running_loop(), self._watcher(), [_NO], asyncio.Event()

        def listen() -> None:
            for change in watcher.changes():
                latest[0] = change
                try:
                    loop.call_soon_threadsafe(news.set)
                except RuntimeError:
                    return  # the loop is closed

        threading.Thread(target=listen, name="leaderd-watch", daemon=True).start()
        last = None
        try:
            while True:
                await news.wait()
                news.clear()
                if latest[0] != last:
                    last = latest[0]
                    yield last
        finally:
            watcher.close()
