"""The one thread that touches the file: commands one after the other, and between them the timers, the doorbell and the probe.

SQLite's calls block, for microseconds as a rule and for as long as the disk likes at worst; here they block nobody but this thread.
What the thread has to say it posts to the event loop; what it may wait for is one `poll` on two descriptors:

- the *inbox* (an eventfd): a command came;
- the *doorbell* (a FIFO): whoever stood before us has left. Hand-over therefore takes about a millisecond;
- the timeout: the instant at which all who stand before us will have expired unless they renewed, or the next probe.

The probe, each 0.4 s while a session is open, reads two numbers from shared memory: did any queue change, does our session live?
It covers lost rings and whatever an operator did to the file by hand.
"""

from __future__ import annotations

import os
import select
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from leaderd.election.commands import Claim, CloseSession, Command, OpenSession, RaiseMark, Renew, Stand, Withdraw, WriteRecord
from leaderd.election.events import Event, Withdrawn
from leaderd.stores.base import Identity, NowS, Traffic
from leaderd.stores.local.desk import Desk, failure
from leaderd.stores.local.problem import LocalError, SessionLost
from leaderd.stores.local.schema import CommitFailed, is_busy

PROBE_S = 0.4


@dataclass(slots=True, eq=False)
class Job:
    """A command on its way. `overdue`: the event loop has given up on it, so that it is neither begun nor answered any more."""

    command: Command
    submitted_s: float
    overdue: bool = False


Post = Callable[[Job | None, list[Event]], None]
"""Deliver events on the event loop: the answer to a job, or (None) news that nobody asked for."""


@dataclass(slots=True)
class Worker:
    """The thread. `submit` and `stop` may be called from any thread, everything else happens on its own."""

    directory: Path
    identity: Identity
    now_s: NowS
    traffic: Traffic
    post: Post
    crashed: Callable[[BaseException], None]
    ended: Callable[[], None]
    _jobs: deque[Job] = field(default_factory=deque)
    _inbox: int = -1
    _stopping: bool = False
    _desk: Desk | None = None
    _closed_epoch: int = 0
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._inbox = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="leaderd-local", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)
        os.eventfd_write(self._inbox, 1)

    def stop(self) -> None:
        """End the thread once the jobs so far are done; `ended` is called then."""
        self._stopping = True
        os.eventfd_write(self._inbox, 1)

    def join(self) -> None:
        """Wait for the thread, which has called `ended`."""
        if self._thread is not None:
            self._thread.join()
            os.close(self._inbox)
            self._inbox = -1

    # ---- on the thread

    def _run(self) -> None:
        self._desk = Desk(self.directory, self.identity, self.now_s, self._news)
        try:
            while True:
                while self._jobs:
                    self._do(self._jobs.popleft())
                if self._stopping:
                    return
                self._wait()
        except BaseException as error:  # noqa: BLE001 - handed over: it must end the daemon, not vanish with the thread
            self.crashed(error)
        finally:
            self._desk.drop()
            self.ended()

    def _news(self, events: list[Event]) -> None:
        self.traffic.last_answer_s = self.now_s()
        self.post(None, events)

    def _wait(self) -> None:
        desk = self._desk
        assert desk is not None
        poller = select.poll()
        poller.register(self._inbox, select.POLLIN)
        if desk.bell is not None:
            poller.register(desk.bell.fd, select.POLLIN)
        timeout_ms = None
        if desk.session_open():
            wake_s = min(desk.probe_at_s, desk.look_at_s or desk.probe_at_s)
            # Rounded up: a look before the expiry would see the other one alive, and come again.
            timeout_ms = max(0, int((wake_s - self.now_s()) * 1000) + 1)
        ready = {fd for fd, _ in poller.poll(timeout_ms)}
        if self._inbox in ready:
            os.eventfd_read(self._inbox)
        if desk.session_open():
            self._look_around(desk, desk.bell is not None and desk.bell.fd in ready)

    def _look_around(self, desk: Desk, rung: bool) -> None:
        now_s = self.now_s()
        due = rung or (desk.look_at_s is not None and now_s >= desk.look_at_s)
        if not due and now_s < desk.probe_at_s:
            return
        desk.probe_at_s = now_s + PROBE_S
        try:
            if rung and desk.bell is not None:
                desk.bell.drain()
            if due:
                self.traffic.requests += 1
            desk.look_around(due)
        except SessionLost as lost:
            self._news([desk.gone(lost.problem)])
        except (sqlite3.Error, CommitFailed, LocalError, OSError) as error:
            # Nobody asked: the next renewal will meet it too, and report it.
            self._after(desk, error)

    def _do(self, job: Job) -> None:
        desk, command = self._desk, job.command
        assert desk is not None
        if isinstance(command, CloseSession):
            self._closed_epoch = max(self._closed_epoch, command.epoch)
        elif job.overdue or command.epoch <= self._closed_epoch:
            return
        self.traffic.requests += 1
        try:
            events = self._carry_out(desk, job)
            self.traffic.last_answer_s = self.now_s()
        except SessionLost as lost:
            events = [desk.gone(lost.problem, command.epoch)]
            if isinstance(command, Withdraw):
                events.append(Withdrawn(command.epoch, command.election))  # gone with the session
        except (sqlite3.Error, CommitFailed, LocalError, OSError) as error:
            problem = self._after(desk, error).problem
            events = [] if isinstance(command, CloseSession | RaiseMark) else [failure(command, problem, job.submitted_s)]
        self.post(job, events)

    def _carry_out(self, desk: Desk, job: Job) -> list[Event]:
        match job.command:
            case OpenSession() as command:
                return desk.open(command)
            case Renew() as command:
                return desk.renew(command)
            case CloseSession():
                return desk.close()
            case Stand() as command:
                return desk.stand(command, lambda: job.overdue)
            case Claim() as command:
                return desk.claim(command)
            case Withdraw() as command:
                return desk.withdraw(command)
            case RaiseMark() as command:
                return desk.raise_mark(command)
            case WriteRecord() as command:
                return desk.write(command)

    def _after(self, desk: Desk, error: sqlite3.Error | CommitFailed | LocalError | OSError) -> LocalError:
        """Make a problem of `error`, and forget the connection unless it is certainly sound."""
        problem = desk.problem_of(error)
        if not (isinstance(error, sqlite3.Error | CommitFailed) and is_busy(error)):
            desk.disconnect()
        return problem
