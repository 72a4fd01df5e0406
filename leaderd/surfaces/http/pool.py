"""All connections of the daemon: how many, for how long, and whose turn it is.

Time is counted in ticks of a quarter second by one timer, which runs only while there are connections: no clock is read per
request, and an idle daemon is not woken.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

from leaderd import log
from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.metrics import Metrics
from leaderd.surfaces.descriptors import in_reserve
from leaderd.surfaces.http.connection import Connection, Phase
from leaderd.surfaces.http.guards import HostGuard, OperatorGuard, is_loopback
from leaderd.surfaces.http.places import Places, descriptor, share
from leaderd.surfaces.http.reply import Response, WaitAsked, problem
from leaderd.surfaces.http.wire import MAX_HEAD_BYTES, Refusal, Request
from leaderd.surfaces.socketfile import peer_of

if TYPE_CHECKING:
    from leaderd.surfaces.http.routes import Route, Routes

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_UID = 64
MAX_IN_RESERVE = 16
"""When file descriptors are scarce: how many connections may have one of those that are kept free for other things."""
TICK_S = 0.25
_TURNS_PER_PASS = 16
_LIMIT_TICKS = {Phase.HEAD: 9, Phase.BODY: 9, Phase.IDLE: 120, Phase.STALLED: 9, Phase.LINGERING: 4, Phase.CLOSING: 9}
"""2 s for a head, a body, or a peer that does not read, 30 s for the next request. One tick more, because the
first is cut short."""
_LOG = logging.getLogger("leaderd.http")
_LOG_EVERY_S = 10.0


Ends = tuple[Callable[[], None], ...]
"""What is to be told that the end has come, before the connections are closed."""


class Pool:
    """The connections of all listeners, and what they share."""

    def __init__(
        self,
        board: Board,
        routes: Routes,
        guard: HostGuard,
        operators: OperatorGuard,
        metrics: Metrics,
        clock: Clock,
        ends: Ends = (),
    ) -> None:
        self.tick = 0
        self._operators = operators
        self._ends = ends
        self.buffer = memoryview(bytearray(2 * MAX_HEAD_BYTES))
        self.find = routes.find
        self.count = metrics.count_request
        self._routes = routes
        self._usual_promise_s = routes.usual_promise_s
        self._guard = guard
        self._clock = clock
        self._connections: set[Connection] = set()
        self._streams: set[Connection] = set()
        self._places = Places()
        self._in_reserve: dict[Connection, None] = {}  # in the order in which they came
        self._acting: set[asyncio.Task[None]] = set()
        self._parked: dict[Connection, tuple[WaitAsked, asyncio.TimerHandle]] = {}
        self._waking = False
        self._unsubscribe = board.subscribe(self._on_published)
        self._board = board
        self._queue: deque[Connection] = deque()
        self._passing = False
        self._ticking: asyncio.TimerHandle | None = None
        self._stopping = False
        self._empty = asyncio.Event()
        self._date = (0, b"")
        self._logged_at_s = float("-inf")
        self._unlogged = 0

    def __len__(self) -> int:
        return len(self._connections) + len(self._streams)

    # ---- coming and going

    def admit(self, connection: Connection) -> None:
        """Take a connection in; when there are too many, the one that has been idle longest goes."""
        transport = connection.transport
        if transport is None or self._stopping:
            connection.abort()
            return
        name = transport.get_extra_info("sockname")
        if isinstance(name, tuple):
            connection.local_address = str(name[0]).removeprefix("::ffff:").lower()
            connection.from_loopback = is_loopback(transport.get_extra_info("peername"))
        else:
            self._limit_user(connection)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._shed(_of_the_fullest(self._connections))
        if in_reserve(descriptor(connection)):
            # Everybody is answered even now; but only a few at a time.
            if len(self._in_reserve) >= MAX_IN_RESERVE:
                self._shed(_of_the_fullest(self._in_reserve))
            self._in_reserve[connection] = None
        self._connections.add(connection)
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._on_tick)

    def leave(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._streams.discard(connection)
        self._in_reserve.pop(connection, None)
        self._places.free(connection)
        parked = self._parked.pop(connection, None)
        if parked is not None:
            parked[1].cancel()
        if not self._connections and not self._streams:
            self._empty.set()

    def park(self, connection: Connection, wait: WaitAsked) -> None:
        """Have a connection wait for a change of its election. Costs an entry here and a timer, no task."""
        handle = asyncio.get_running_loop().call_later(wait.wait_s, self._unpark, connection)
        self._parked[connection] = (wait, handle)

    def _on_published(self) -> None:
        if self._parked and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        elections = self._board.snapshot.elections
        for connection in [c for c, (wait, _) in self._parked.items() if elections[wait.election].index != wait.known]:
            self._unpark(connection)

    def _unpark(self, connection: Connection) -> None:
        parked = self._parked.pop(connection, None)
        if parked is not None:
            parked[1].cancel()
            connection.unpark()

    def stream(self, connection: Connection, kind: str) -> None:
        """A connection becomes a stream: it takes no place among those who ask, but one among the streams."""
        self._connections.discard(connection)
        self._streams.add(connection)
        self._places.take(connection, kind)

    async def stop(self, grace_s: float) -> None:
        """Close all, letting what was written leave within `grace_s`."""
        self._stopping = True
        self._empty.clear()
        for end in self._ends:
            end()
        self._unsubscribe()
        for connection in (*self._connections, *self._streams):
            connection.close()
        if self._connections or self._streams:
            try:
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()
            except TimeoutError:
                for connection in (*self._connections, *self._streams):
                    connection.abort()
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def _limit_user(self, connection: Connection) -> None:
        try:
            assert connection.transport is not None
            connection.uid = peer_of(connection.transport.get_extra_info("socket")).uid
        except OSError:
            return  # gone already
        mine = [other for other in self._connections if other.uid == connection.uid]
        if len(mine) >= MAX_CONNECTIONS_PER_UID:
            self._shed(mine)

    def _shed(self, connections: list[Connection]) -> None:
        victim = min(connections, key=_claim)
        self._connections.discard(victim)
        self._in_reserve.pop(victim, None)
        victim.abort()

    def _on_tick(self) -> None:
        self.tick += 1
        for connection in tuple(self._connections):
            limit = _LIMIT_TICKS.get(connection.phase)
            if limit is not None and self.tick - connection.since >= limit:
                connection.time_is_up()
        again = bool(self._connections) and not self._stopping
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._on_tick) if again else None

    # ---- turns

    def enqueue(self, connection: Connection) -> None:
        """Have the connection wait for its turn."""
        self._queue.append(connection)
        if not self._passing:
            self._passing = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        """A few turns, at most one of them heavy; then everything else on the loop, then the next few."""
        turns = _TURNS_PER_PASS
        while self._queue and turns > 0:
            turns -= _TURNS_PER_PASS if self._queue.popleft().turn_from_queue() else 1
        self._passing = bool(self._queue)
        if self._passing:
            asyncio.get_running_loop().call_soon(self._pass)

    def check(self, connection: Connection, request: Request, route: Route | None) -> bool:
        """Raise `Refusal` unless whoever asks may ask this; returns whether a foreign web page is behind it."""
        if connection.local_address is not None:
            self._guard.check(request, connection.local_address)
        foreign = self._guard.is_foreign(request)
        if foreign and request.method != "GET":
            raise Refusal(403, "a web page from elsewhere may not do this")
        if route is not None and request.method in route.changes:
            self._operators.check(request, connection.listener, connection.uid, connection.from_loopback)
        return foreign

    def answer(self, connection: Connection, request: Request, route: Route | None, election: str | None) -> Response:
        """What a request gets. Raises `Refusal` for those that end the connection."""
        # No await from here to the write of the answer: the instant it is of and the promise it gives are read in `route`.
        foreign = self.check(connection, request, route)
        if route is not None and route.streams and request.method == "GET":
            self._places.check(connection, route.streams)
        # A web page must not be able to hold a release back at all, nor anybody on the network by more than the usual promise.
        most_s = 0.0 if foreign else self._usual_promise_s if connection.listener == "ops" else math.inf
        by = "loopback" if connection.uid is None else f"uid {connection.uid}"
        return self._routes.answer(request, route, election, most_s, by)

    def act(self, connection: Connection, work: Callable[[], Awaitable[Response]]) -> None:
        """Do what was asked for; it goes on when the connection has gone."""
        task = asyncio.get_running_loop().create_task(self._act(connection, work))
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _act(self, connection: Connection, work: Callable[[], Awaitable[Response]]) -> None:
        try:
            response = await work()
        except Exception as error:  # noqa: BLE001 - a fault costs the answer, which says so
            self.note_refusal(connection, 500, f"{type(error).__name__}: {error}", error)
            response = problem(Refusal(500, "internal error"))
        connection.acted(response)

    # ---- words

    def date(self) -> bytes:
        """The Date header, complete."""
        second = int(self._clock.wall_s())
        if self._date[0] != second:
            self._date = (second, _date_line(second))
        return self._date[1]

    def note_refusal(self, connection: Connection, status: int, detail: str, error: BaseException | None = None) -> None:
        """Log a peer's misbehaviour, or our own fault, in one line; and not again for a while, whatever comes."""
        self.count("none", status, connection.listener)
        now_s = self._clock.now_s()
        if now_s - self._logged_at_s < _LOG_EVERY_S:
            self._unlogged += 1
            return
        level = logging.WARNING if error is None else logging.ERROR
        unlogged, self._unlogged, self._logged_at_s = self._unlogged, 0, now_s
        log.event(_LOG, level, f"refused: {detail}", status=status, listener=connection.listener, not_logged_before=unlogged)
        if error is not None:
            _LOG.debug("fault while answering", exc_info=error)


def _of_the_fullest(connections: Collection[Connection]) -> list[Connection]:
    """Those of the listener, or of the user on the socket, that has most of them: a flood of one costs the others nothing."""
    fullest = Counter(map(share, connections)).most_common(1)[0][0]
    return [other for other in connections if share(other) == fullest]


def _claim(connection: Connection) -> tuple[int, int]:
    """The lowest goes first: who has had its last answer, then whoever nothing is being done for, the idlest first."""
    rank = 2 if connection.phase in {Phase.QUEUED, Phase.ACTING} else 0 if connection.phase >= Phase.LINGERING else 1
    return rank, connection.since


def _date_line(second: int) -> bytes:
    # Not strftime: its names of days and months follow the locale.
    at = time.gmtime(second)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.tm_wday]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.tm_mon - 1]
    text = f"Date: {day}, {at.tm_mday:02} {month} {at.tm_year} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT\r\n"
    return text.encode("ascii")
