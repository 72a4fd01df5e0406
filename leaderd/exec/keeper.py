"""The keeper: starts the command, and has killed all of it before the promise lapses, whatever has become of everybody else.

It hears from the wrapper by packets: `until NS` (a later promise), `signal N` (to forward), `end` (leadership is
over: SIGTERM now), `freeze`, `thaw`. It says `started PID`, `failed ERRNO`, `ended STATUS CAUSE`.
When the wrapper's end closes, the command dies.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from leaderd.exec import kernel, tree

LOST, OWN_END = "lost", "own"
MAX_PACKET_BYTES = 256


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, and how long before the promise's end: SIGTERM `grace_s` before SIGKILL, SIGKILL `lead_s` before the end."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    grace_s: float
    lead_s: float
    until_s: float
    ignored: frozenset[int]
    """Signals that whoever started us had ignored (nohup): the command inherits that."""


def keep(order: Order, link: socket.socket, now_s: Callable[[], float]) -> int:
    """Be the keeper, in a process of our own; returns its exit code when all is over."""
    os.setsid()  # what the terminal sends is the wrapper's to forward
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    kernel.adopt_orphans()
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    keeper = _Keeper(order, link, now_s)
    try:
        keeper.start()
        keeper.watch(woken)
    finally:
        tree.kill_all(os.getpid(), keeper.child)
    return 0


class _Keeper:
    def __init__(self, order: Order, link: socket.socket, now_s: Callable[[], float]) -> None:
        self._order = order
        self._link = link
        self._now_s = now_s
        self._timer = kernel.BootTimer()
        self.child: int | None = None
        self._status: int | None = None
        self._until_s = order.until_s
        self._ending_s = math.inf
        self._told = self._frozen = False

    # ---- starting

    def start(self) -> None:
        """Fork and execute; the reason of a failure comes back by a pipe that a success closes."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        keeper = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            try:
                self._become_the_command(keeper)
            except OSError as error:
                os.write(writing, str(error.errno).encode())
            finally:
                os._exit(127)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            failure = file.read()
        self._say(f"failed {failure.decode()}" if failure else f"started {self.child}")

    def _become_the_command(self, keeper: int) -> None:
        os.setsid()
        # Safety: see test_killed_keeper_leaves_no_child
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(127)  # it ended before we had asked to be told
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN if number in self._order.ignored else signal.SIG_DFL)
        os.execvpe(self._order.argv[0], self._order.argv, self._order.environment)  # noqa: S606 - the user's own command

    # ---- watching

    def watch(self, woken: int) -> None:
        """Until the command has ended, by itself or by us, or the wrapper has."""
        poller = select.poll()
        for source in (self._link.fileno(), self._timer.fileno(), woken):
            poller.register(source, select.POLLIN)
        while True:
            self._timer.arm(self._next_s())
            ready = {descriptor for descriptor, _ in poller.poll()}
            if woken in ready:
                os.read(woken, 4096)
            # Safety: see test_killed_wrapper_leaves_no_child
            if self._link.fileno() in ready and not self._hear():
                return
            self._reap()
            # Safety: see test_deaf_child_is_dead_by_the_deadline
            if self._status is not None or self._now_s() >= self._kill_s():
                self._finish(LOST if self._told or self._status is None else OWN_END)
                return
            if self._now_s() >= self._kill_s() - self._order.grace_s:
                self._tell()

    def _kill_s(self) -> float:
        return min(self._until_s - self._order.lead_s, self._ending_s)

    def _next_s(self) -> float:
        return self._kill_s() if self._told or self._frozen else self._kill_s() - self._order.grace_s

    def _hear(self) -> bool:
        """One packet of the wrapper; False when there is no wrapper any more."""
        try:
            word, _, value = self._link.recv(MAX_PACKET_BYTES).decode("ascii").partition(" ")
        except ConnectionError:
            word, value = "", ""
        if word == "until" and not self._told:  # once told, the command ends by the promise it was told under
            self._until_s = max(self._until_s, int(value) / 1e9)
        elif word == "signal":
            self._forward(int(value))
        elif word == "end":
            # Somebody waits for our promise: the command gets its grace, and not what the promise has left beyond that.
            self._ending_s = min(self._ending_s, self._now_s() + self._order.grace_s)
            self._tell()
        elif word == "freeze" and not self._told:
            self._frozen = True
            tree.signal_all(os.getpid(), signal.SIGSTOP, self.child)
        elif word == "thaw" and self._frozen:
            self._frozen = False
            tree.signal_all(os.getpid(), signal.SIGCONT, self.child)
        return bool(word)

    def _forward(self, number: int) -> None:
        if self.child is None or (self._frozen and number == signal.SIGCONT):
            return
        try:
            os.killpg(self.child, number)
        except ProcessLookupError:
            pass

    def _tell(self) -> None:
        """SIGTERM to the group, once. What is frozen in doubt stays so: it would act on a leadership nobody has confirmed."""
        if self._told or self._frozen:
            return
        self._told = True
        self._forward(signal.SIGTERM)
        self._forward(signal.SIGCONT)

    # ---- ending

    def _reap(self) -> None:
        """Take the status of the command when it has ended, and of adopted orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self._status = os.waitstatus_to_exitcode(status)

    def _finish(self, cause: str) -> None:
        """Kill what is left: what the command leaves behind would go on without anybody watching over it."""
        tree.kill_all(os.getpid(), self.child if self._status is None else None)
        self._reap()
        self._say(f"ended {-signal.SIGKILL if self._status is None else self._status} {cause}")

    def _say(self, text: str) -> None:
        try:
            self._link.send(text.encode("ascii"))
        except OSError:
            pass  # the wrapper has ended: the next look at the link tells
