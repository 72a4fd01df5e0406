"""The asyncio side of the local store: commands to the worker thread, its events to the sink, each answer within its bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from leaderd.election.commands import CloseSession, Command, OpenSession, RaiseMark
from leaderd.election.events import Event
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, NowS, Sink, Traffic
from leaderd.stores.local.desk import bound_s, failure
from leaderd.stores.local.worker import Job, Worker

_log = logging.getLogger(__name__)
_STOP_S = 2.0


class LocalStore:
    """The `Store` in a directory of this host. `traffic` counts transactions; the probes between them read shared memory only."""

    kind = "local"
    rule = RULES["local"]
    keeps_records = True

    def __init__(
        self, address: StoreAddress, identity: Identity, timing: Timing, credentials: Credentials, tls: Tls, now_s: NowS
    ) -> None:
        del credentials, tls  # file permissions are what protects a directory
        self.traffic = Traffic()
        self.on_crash: Callable[[BaseException], None] = self._log_crash
        self._directory = Path("/" + address.path.lstrip("/"))
        self._identity = identity
        self._now_s = now_s
        self._ttl_s = timing.ttl_s
        self._closed_epoch = 0
        self._sink: Sink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._ended = asyncio.Event()
        self._timers: dict[Job, asyncio.TimerHandle] = {}

    async def start(self, sink: Sink) -> None:
        """Start the worker thread; the directory is not touched before the first session."""
        self._sink, self._loop = sink, asyncio.get_running_loop()
        self._worker = Worker(
            self._directory,
            self._identity,
            self._now_s,
            self.traffic,
            self._post,
            self._crashed,
            lambda: self._on_loop(self._ended.set),
        )
        self._worker.start()

    def submit(self, command: Command) -> None:
        """Hand one command to the worker; after `aclose` it is dropped."""
        if self._worker is None or self._loop is None:
            return
        if isinstance(command, OpenSession):
            self._ttl_s = command.ttl_s
        job = Job(command, self._now_s())
        if isinstance(command, CloseSession):
            self._closed_epoch = max(self._closed_epoch, command.epoch)
        elif not isinstance(command, RaiseMark):
            self._timers[job] = self._loop.call_later(bound_s(self._ttl_s), self._give_up, job)
        self._worker.submit(job)

    async def aclose(self) -> None:
        """Let the worker finish what was asked for so far, within two seconds, and end it. Nothing is delivered any more."""
        worker, self._worker, self._sink = self._worker, None, None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if worker is None:
            return
        worker.stop()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._ended.wait()
        except TimeoutError:
            _log.warning("the local store's disk does not answer: its thread is left behind")
            return
        worker.join()

    # ---- from the worker thread

    def _on_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to be told

    def _post(self, job: Job | None, events: list[Event]) -> None:
        self._on_loop(lambda: self._deliver(job, events))

    def _crashed(self, error: BaseException) -> None:
        self._on_loop(lambda: self.on_crash(error))

    # ---- on the event loop

    def _deliver(self, job: Job | None, events: list[Event]) -> None:
        if job is not None:
            if job.overdue:
                return  # answered already, as unknown
            timer = self._timers.pop(job, None)
            if timer is not None:
                timer.cancel()
        for event in events:
            self._emit(event)

    def _emit(self, event: Event) -> None:
        # Safety: see test_no_event_after_close_session
        if self._sink is not None and getattr(event, "epoch", 0) > self._closed_epoch:
            self._sink(event)

    def _give_up(self, job: Job) -> None:
        job.overdue = True
        del self._timers[job]
        detail = f"{self._directory} did not answer within {bound_s(self._ttl_s):.2f} s"
        self._emit(failure(job.command, Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, detail), job.submitted_s))

    def _log_crash(self, error: BaseException) -> None:
        assert self._loop is not None
        _log.critical("the local store's thread died", exc_info=error)
        self._loop.call_exception_handler({"message": "the local store's thread died", "exception": error})
