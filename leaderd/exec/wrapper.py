"""The wrapper: waits for leadership, starts a keeper with the command, brings it the daemon's fresh promises, forwards signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from leaderd.cli.daemon_client import Unreachable, now_s
from leaderd.errors import EXIT_TIMEOUT, Fatal
from leaderd.exec import kernel, tree
from leaderd.exec.keeper import LOST, MAX_PACKET_BYTES, Order, keep
from leaderd.exec.validity import EXIT_OWN_FAILURE, Question, Standing, Vow

EXIT_NOT_LEADER, EXIT_LOST, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 75, 76, 126, 127
_ENOENT = 2
_PAUSE_S = 0.2
"""Between two looks while another instance leads."""
_MAX_LEAD_S = 0.25
"""SIGKILL this long before the end of the promise: to find and kill a tree takes milliseconds, on a busy machine some more."""
_SHORTEST_PROMISE_S = 1.0
_UNFORWARDED = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE),
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS),
}
"""What cannot be caught, concerns the wrapper's own terminal, or says that the wrapper itself is broken."""

_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for. Durations in seconds; `wait_s` None is for ever, 0 is not at all (`--skip`)."""

    argv: tuple[str, ...]
    question: Question
    socket_path: str
    wait_s: float | None = None
    min_valid_s: float = 0.0
    grace_s: float | None = None
    restart: bool = False
    freeze_on_doubt: bool = False
    on_run: Callable[[float, str, int | None, int | None], None] | None = None
    """Told of each run when all of it is dead and its promise given back: when it began, election, token, exit code."""


def run(wish: Wish) -> int:
    """Run the command while leading; returns the exit code. Raises `Fatal`."""
    kernel.adopt_orphans()  # should the keeper be killed, what it kept becomes ours to kill
    while True:
        standing = _wait_until_leading(wish)
        began_s = now_s()
        code = _Run(wish, standing).run()
        if wish.on_run is not None:
            wish.on_run(began_s, standing.election, standing.token, code)
        if code is None:  # lost between two questions
            if wish.wait_s == 0:
                raise Fatal("not leader for long enough, skipped", EXIT_NOT_LEADER)
            time.sleep(_PAUSE_S)
        elif wish.restart and code == EXIT_LOST:
            _tell("leadership lost; waiting to lead again")
        else:
            return code


def _wait_until_leading(wish: Wish) -> Standing:
    deadline_s = None if wish.wait_s is None else now_s() + wish.wait_s
    while True:
        try:
            standing = wish.question.ask(0.0, 3.0, min_valid_s=wish.min_valid_s)
            why = f"{standing.state}: {standing.reason}"
        except Unreachable as error:
            if wish.wait_s == 0:
                raise Fatal(error.message, EXIT_OWN_FAILURE) from None
            standing, why = None, error.message
        if standing is not None and standing.leader:
            return standing
        if wish.wait_s == 0:
            raise Fatal(f"not leader ({why}), skipped", EXIT_NOT_LEADER)
        if deadline_s is not None and now_s() + _PAUSE_S >= deadline_s:
            raise Fatal(f"waited {wish.wait_s:g}s to lead: {why}", EXIT_TIMEOUT)
        time.sleep(_PAUSE_S)


def _tell(message: str) -> None:
    try:
        print(f"leaderd exec: {message}", file=sys.stderr, flush=True)  # noqa: T201 - speaks to its user
    except OSError:
        pass


class _Ended(Exception):
    """The keeper has ended while we were waiting for the daemon's answer."""


class _Run:
    """One run of the command, within one term."""

    def __init__(self, wish: Wish, first: Standing) -> None:
        self._wish = wish
        self._lead_s = min(_MAX_LEAD_S, first.lease_s / 10)
        most_s = max(0.0, (first.lease_s - self._lead_s) / 2)
        self._grace_s = most_s if wish.grace_s is None else min(wish.grace_s, most_s)
        if wish.grace_s is not None and self._grace_s < wish.grace_s:
            _tell(
                f"a grace of {wish.grace_s:g}s does not fit a lease of {first.lease_s:.1f}s, using {self._grace_s:.1f}s: raise ttl"
            )
        # Extended when four fifths of it are left: what remains for the command between two extensions is never doubtful.
        self._promise_s = max(_SHORTEST_PROMISE_S, 1.5 * (self._grace_s + self._lead_s) + 0.75)
        if wish.freeze_on_doubt:
            self._promise_s = first.lease_s  # what is frozen shall have all the time there is to be confirmed
        self._every_s = min(1.0, self._promise_s / 8)
        self._patience_s = min(1.0, self._promise_s / 6)
        self._election, self._token = first.election, first.token
        self._until_s = 0.0
        self._link: socket.socket | None = None
        self._vow: Vow | None = None
        self._heard_s = 0.0
        self._asking = self._frozen = self._over = False

    def run(self) -> int | None:
        """The exit code; None when the promise to begin with was not to be had."""
        standing = self._begin()
        if standing is None or standing.until_s is None or standing.until_s - self._lead_s - self._grace_s <= now_s():
            self._drop_vow()
            return None
        self._until_s, self._heard_s = standing.until_s, now_s()
        pid = self._start_keeper()
        try:
            return self._watch()
        finally:
            for number in self._handled:
                signal.signal(number, signal.SIG_DFL)
            tree.kill_all(os.getpid(), None)
            self._link.close() if self._link else None
            os.waitpid(pid, 0)
            # The keeper has a copy of the stream's descriptor: whoever of us two is killed, the daemon hears that the promise
            # is given back only when the other has killed what was left.
            # Safety: see test_the_keepers_copy_of_the_stream_keeps_the_promise
            self._drop_vow()
            if signal.SIGINT in self._handled:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    # ---- starting

    def _begin(self) -> Standing | None:
        """The promise to begin with, held open if it can be."""
        question, min_valid_s = self._wish.question, self._wish.min_valid_s
        try:
            standing, self._vow = question.hold(self._election, self._promise_s, min_valid_s, self._token)
            return standing
        except Unreachable:
            pass  # too many holds, perhaps: a promise that cannot be given back does as well
        try:
            return question.ask(self._promise_s, 3.0, min_valid_s=min_valid_s, token=self._token)
        except Unreachable:
            return None

    def _start_keeper(self) -> int:
        ignored = frozenset(n for n in signal.valid_signals() - _IGNORED_BY_PYTHON if signal.getsignal(n) is signal.SIG_IGN)
        order = Order(self._wish.argv, self._environment(), self._grace_s, self._lead_s, self._until_s, ignored)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            code = EXIT_OWN_FAILURE
            try:
                ours.close()
                code = keep(order, theirs, now_s)
            finally:
                os._exit(code)
        theirs.close()
        self._link = ours
        self._handled = [n for n in signal.valid_signals() - _UNFORWARDED - ignored if n <= signal.SIGSYS or n >= signal.SIGRTMIN]
        for number in self._handled:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, self._on_end)
        self._handled.append(signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return pid

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LEADERD_ELECTION": self._election,
            "LEADERD_TOKEN": str(self._token),
            "LEADERD_VALID_UNTIL_BOOTTIME_NS": str(int(self._until_s * 1e9)),
            "LEADERD_SOCKET": self._wish.socket_path,
        }

    # ---- signals

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGTSTP:
            # Ctrl-Z: the command stops with us. Its promise runs on; the keeper kills it when that lapses and we cannot renew it.
            self._send(f"signal {int(signal.SIGSTOP)}")
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self._send(f"signal {number}")

    def _on_end(self, _number: int, _frame: object) -> None:
        if self._asking:
            raise _Ended

    def _send(self, text: str) -> None:
        try:
            if self._link is not None:
                self._link.send(text.encode("ascii"))
        except OSError:
            pass  # the keeper has ended; what it said last is read next

    # ---- watching

    def _watch(self) -> int:
        assert self._link is not None
        look_s = now_s() + self._every_s
        while True:
            ready = self._wait(look_s)
            if self._link.fileno() in ready:
                code = self._hear(self._receive())
                if code is not None:
                    return code
            # The keeper does this earlier; we do it where somebody has stopped the keeper itself.
            # Safety: see test_stopped_keeper_does_not_save_the_child
            if now_s() >= self._until_s - self._lead_s / 2:
                return EXIT_LOST
            if self._vow is not None and self._vow.fileno() in ready:
                self._listen(self._vow)
            if now_s() >= look_s:
                try:
                    if self._vow is not None:
                        self._doubt(self._frozen or now_s() > self._heard_s + self._promise_s / 3 + self._patience_s)
                    elif not self._over:
                        self._look()
                except _Ended:
                    self._asking = False
                look_s = min(now_s() + self._every_s, max(now_s(), self._until_s - self._lead_s / 2))

    def _wait(self, until_s: float) -> set[int]:
        assert self._link is not None
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        if self._vow is not None and not self._over:
            poller.register(self._vow, select.POLLIN)
        return {descriptor for descriptor, _ in poller.poll(max(0.0, until_s - now_s()) * 1000)}

    def _listen(self, vow: Vow) -> None:
        """What the daemon says of its promise. A stream that breaks takes nothing back: then we ask, while there is time."""
        try:
            while not self._over and (standing := vow.read()) is not None:
                self._heard_s = now_s()
                self._take(standing)
        except Unreachable:
            self._drop_vow()
            self._doubt(True)

    def _drop_vow(self) -> None:
        if self._vow is not None:
            self._vow.drop()
            self._vow = None

    def _receive(self) -> str:
        assert self._link is not None
        try:
            packet = self._link.recv(MAX_PACKET_BYTES)
        except ConnectionError:  # it ended with something of ours unread; what it said before that comes next
            packet = self._link.recv(MAX_PACKET_BYTES)
        return packet.decode("ascii")

    def _hear(self, packet: str) -> int | None:
        """The keeper's word; the exit code when that was its last."""
        word, *values = packet.split() or [""]
        if word == "started":
            return None
        if word == "failed":
            number = int(values[0])
            _tell(f"cannot run {self._wish.argv[0]!r}: {os.strerror(number)}")
            return EXIT_NOT_FOUND if number == _ENOENT else EXIT_NOT_EXECUTABLE
        if word != "ended":
            _tell("its keeper was killed: the command was killed with it")
            return EXIT_OWN_FAILURE
        if values[1] == LOST:
            return EXIT_LOST
        status = int(values[0])
        return status if status >= 0 else 128 - status

    def _look(self) -> None:
        """Ask again in the same term; a later promise is passed on, a no ends the run, no answer leaves the promise as it is."""
        left_s = self._until_s - self._lead_s / 2 - now_s()
        self._asking = True
        try:
            standing = self._wish.question.ask(self._promise_s, max(0.02, min(self._patience_s, left_s)), token=self._token)
        except (Unreachable, Fatal):
            self._asking = False
            self._doubt(True)
            return
        self._asking = False
        self._take(standing)

    def _take(self, standing: Standing) -> None:
        """What the daemon says of the term: a later promise, or that it is over."""
        if not standing.leader or standing.until_s is None:
            self._over = True
            _tell(f"not leader any more ({standing.state}: {standing.reason}), ending the command")
            self._send("end")
            return
        if standing.until_s > self._until_s:
            self._until_s = standing.until_s
            self._send(f"until {int(self._until_s * 1e9)}")
        self._doubt(standing.state == "suspended")

    def _doubt(self, doubted: bool) -> None:
        if self._wish.freeze_on_doubt and doubted != self._frozen:
            self._frozen = doubted
            self._send("freeze" if doubted else "thaw")
