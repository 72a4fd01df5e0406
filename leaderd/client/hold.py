"""Holding a term: work in flight that a hand-over waits for, for as long as was promised and no longer.

A thread of its own listens to the daemon, so that the app may be busy. What it hears is news; what counts is the deadline, compared
with the clock whenever the app asks. A daemon that is lost takes nothing back: what it promised holds until its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import CLOCK_BOOTTIME, clock_gettime_ns
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from leaderd.client.errors import DaemonUnreachable, NotLeader
from leaderd.client.line import Line
from leaderd.client.term import seconds

if TYPE_CHECKING:
    from leaderd.client.leader import Leader

_LONGEST_WAIT_S = 1.0
"""Socket timeouts stand still while the machine is suspended, deadlines do not."""
_AGAIN_S = 0.1
_MAX_LEAD_NS = 1_000_000_000
"""A holder that hears nothing any more is told this long before the end, or a quarter of the promise: it has to stop, too."""
OnEnding = Callable[[], None]


class HeldTerm:
    """A term that the daemon keeps promising while work is in flight. Safe for threads.

    `token`: send it along with every write. `valid_until_ns`: until when nobody else leads, as told last (ns on CLOCK_BOOTTIME); it
    moves on while the term lasts. `reason`: once it is ending, the daemon's word for why.
    """

    __slots__ = ("_ending", "reason", "token", "valid_until_ns")

    def __init__(self, token: int, valid_until_ns: int) -> None:
        self.token = token
        self.valid_until_ns = valid_until_ns
        self.reason = ""
        self._ending = threading.Event()

    @property
    def valid_for_s(self) -> float:
        """Seconds of the promise left; 0 when it is over."""
        return max(0.0, (self.valid_until_ns - clock_gettime_ns(CLOCK_BOOTTIME)) / 1e9)

    @property
    def ending(self) -> bool:
        """Whether leadership is being given up, or the daemon is out of reach: finish within `valid_for_s`, begin nothing new."""
        return self._ending.is_set()

    def wait_ending(self, timeout_s: float | None = None) -> bool:
        """Block until it is ending, or for so long; whether it is."""
        return self._ending.wait(timeout_s)

    def require(self, min_valid: str | float = 0.0) -> None:
        """Raise `NotLeader` unless nobody else leads for another `min_valid` (seconds or `2s`): the question before each step."""
        # Safety: see test_a_frozen_app_is_not_told_too_late. The deadline is compared here; what a thread has heard is only news.
        if self.valid_until_ns - clock_gettime_ns(CLOCK_BOOTTIME) <= seconds(min_valid) * 1e9:
            raise NotLeader(f"term {self.token} is over, or was promised no longer", self.reason or "lease_expired")

    def end(self, reason: str) -> None:
        """What the listener says when it is ending."""
        self.reason = self.reason or reason
        self._ending.set()


class Holding(Protocol):
    """What keeps a term: the daemon's stream, or a pretence of it."""

    term: HeldTerm

    def close(self) -> None:
        """The work is done: give the promise back. Does not block."""


class Pretence:
    """Without any daemon."""

    def __init__(self, term: HeldTerm) -> None:
        self.term = term

    def close(self) -> None:
        """Nothing to give back."""


class Listener:
    """Holds a term by an open stream. `connect(token)` opens one; raises what that raises. `on_ending` is called by its thread."""

    def __init__(self, connect: Callable[[int | None], Line], on_ending: OnEnding) -> None:
        self._connect = connect
        self._on_ending = on_ending
        self._lock = threading.Lock()
        self._closed = False
        self._lead_ns = 0
        self._line: Line | None = connect(None)
        self.term = HeldTerm(0, 0)
        try:
            event = self._line.next(_LONGEST_WAIT_S)
            if event is None or event[0] != "held":
                raise DaemonUnreachable("the daemon opened a stream and said nothing: ask again")
            self._extend(self._line, event[1])
            self.term.token = int(event[1]["token"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._line.close()
            raise DaemonUnreachable(f"the daemon's stream broke off: {error}") from None
        except BaseException:
            self._line.close()
            raise
        self._thread = threading.Thread(target=self._listen, name="leaderd-hold", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The work is done: the daemon hears of it at once."""
        with self._lock:
            self._closed = True
            if self._line is not None:
                self._line.shutdown()
        if not self._thread.is_alive() and self._line is not None:
            self._line.close()

    # ---- the thread

    def _listen(self) -> None:
        try:
            while not self._closed and not self.term.ending:
                self._step()
        finally:
            # An ending hold stays open until its work is done: closing it would give the promise back too early.
            if self._closed and self._line is not None:
                self._line.close()

    def _step(self) -> None:
        left_s = (self.term.valid_until_ns - self._lead_ns - clock_gettime_ns(CLOCK_BOOTTIME)) / 1e9
        if left_s <= 0:
            self._tell("daemon_unreachable")
            return
        if self._line is None:
            self._come_back(left_s)
            return
        try:
            event = self._line.next(min(left_s, _LONGEST_WAIT_S))
            if event is not None:
                self._hear(self._line, *event)
        except OSError:
            self._line.close()
            self._line = None

    def _hear(self, line: Line, kind: str, body: dict[str, object]) -> None:
        if kind in {"held", "tick"}:
            self._extend(line, body)
        elif kind in {"ending", "ended"}:
            self._tell(str(body.get("reason", "")))

    def _extend(self, line: Line, body: dict[str, object]) -> None:
        until_ns = line.until_ns(body)
        self.term.valid_until_ns = max(self.term.valid_until_ns, until_ns)
        self._lead_ns = min(_MAX_LEAD_NS, max(0, until_ns - clock_gettime_ns(CLOCK_BOOTTIME)) // 4)

    def _come_back(self, left_s: float) -> None:
        """The stream broke, which says nothing: ask again for the same term while there is time."""
        try:
            line = self._connect(self.term.token)
        except NotLeader as error:
            self._tell(error.reason)
            return
        except DaemonUnreachable:
            self.term.wait_ending(min(_AGAIN_S, left_s))
            return
        with self._lock:
            self._line = line
            if self._closed:
                line.shutdown()

    def _tell(self, reason: str) -> None:
        self.term.end(reason)
        if not self._closed:
            self._on_ending()


class Guard:
    """`with leader.guard() as term:` or `async with`; see `Leader.guard`."""

    def __init__(self, leader: Leader, promise: str | float | None, min_valid: str | float | None) -> None:
        self._leader = leader
        self._promise = promise
        self._min_valid = min_valid
        self._holding: Holding | None = None

    def __enter__(self) -> HeldTerm:
        """Hold the term. Raises `NotLeader` and `DaemonUnreachable`."""
        self._holding = self._leader.open_hold(self._promise, self._min_valid, _nothing)
        return self._holding.term

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the promise back."""
        if self._holding is not None:
            self._holding.close()
            self._holding = None

    async def __aenter__(self) -> HeldTerm:
        """The same, without blocking the loop."""
        self._holding = await _opened(self._leader, self._promise, self._min_valid, _nothing)
        return self._holding.term

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the promise back."""
        self.__exit__(kind, error, trace)


class Hold:
    """`async with leader.hold() as term:`; see `Leader.hold`."""

    def __init__(self, leader: Leader, promise: str | float | None, min_valid: str | float | None) -> None:
        self._leader = leader
        self._promise = promise
        self._min_valid = min_valid
        self._holding: Holding | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._ours = False

    async def __aenter__(self) -> HeldTerm:
        """Hold the term. Raises `NotLeader` and `DaemonUnreachable`."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a hold needs a task that it can cancel")
        self._cancelling = self._task.cancelling()

        def on_ending() -> None:
            try:
                loop.call_soon_threadsafe(self._cancel)
            except RuntimeError:
                pass  # the loop is closed, and the task with it

        self._holding = await _opened(self._leader, self._promise, self._min_valid, on_ending)
        return self._holding.term

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the promise back; a cancellation of ours becomes `NotLeader`."""
        holding, task, self._holding, self._task = self._holding, self._task, None, None
        if holding is None or task is None:
            return
        holding.close()
        # As `asyncio.timeout` does: a cancellation from elsewhere stays one.
        if self._ours and task.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            term = holding.term
            raise NotLeader(f"term {term.token} ended while work was in flight: {term.reason}", term.reason) from error

    def _cancel(self) -> None:
        if self._task is not None and not self._ours:
            self._ours = True
            self._task.cancel()


async def _opened(leader: Leader, promise: str | float | None, min_valid: str | float | None, on_ending: OnEnding) -> Holding:
    opening = asyncio.get_running_loop().run_in_executor(None, leader.open_hold, promise, min_valid, on_ending)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unused)
        raise


def _close_unused(opening: asyncio.Future[Holding]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _nothing() -> None:
    """A guard asks, it need not be told."""
