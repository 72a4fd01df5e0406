"""Server processes that are stopped for certain: own process group, killed by the kernel when we die, logs in a file.

Rule 1: only processes started here are ever signalled, and only before they are reaped, so no id can have been reused.
Rule 2: every wait has a bound and says at its end what it was waiting for.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_Job = Callable[[], "subprocess.Popen[str]"]
_GUARD = Path(__file__).with_name("guard.py")


class StartError(RuntimeError):
    """A server did not start; the text ends with the tail of its log."""


class WaitTimeout(TimeoutError):
    """A condition did not come true in time; the text says which."""


def wait_until(condition: Callable[[], T | None], timeout: float, what: str, every: float = 0.02) -> T:
    """Call `condition` until it returns something true, and return that. Raises `WaitTimeout` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"not within {timeout:g} s: {what}")
        time.sleep(every)


class Process:
    """One child process. It may be frozen, thawed, killed and started again; its log file is appended to."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> None:
        """Describe the process; nothing runs yet. `pipes` gives it stdin and stdout pipes, else both go to the log."""
        self.argv = list(argv)
        self.log = log
        self.frozen = False
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._pipes = pipes
        self.popen: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, which is also its group id; None when it is not running."""
        return self.popen.pid if self.popen is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended (a frozen process is running)."""
        return self.popen is not None and self.popen.returncode is None and not _has_ended(self.popen.pid)

    @property
    def stands_still(self) -> bool:
        """Whether the kernel shows it as stopped, whoever did that."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False  # it has ended

    def start(self) -> None:
        """Start it. Raises `StartError` if it runs already."""
        if self.running:
            raise StartError(f"{self.argv[0]} is already running as {self.pid}")
        self._reap()
        self.frozen = False
        self.popen = _spawner().spawn(self._spawn)

    def _spawn(self) -> subprocess.Popen[str]:
        with self.log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *self.argv],
                stdin=subprocess.PIPE if self._pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._pipes else log,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
                process_group=0,
                text=True,
            )

    def freeze(self) -> None:
        """Stop it as a paused machine would (SIGSTOP), and return once every thread of it has stopped."""
        self._signal(signal.SIGSTOP)
        self.frozen = True
        pid = self._require_pid()
        wait_until(lambda: _has_stopped(pid), 5.0, f"process {pid} stopped by SIGSTOP", every=0.001)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def kill(self) -> None:
        """End the whole group at once (SIGKILL) and reap it; nothing happens if it has ended before."""
        self._end(signal.SIGKILL, grace=5.0)

    @property
    def started(self) -> bool:
        """Whether it was started and has not been stopped or killed by us since; it may have died on its own."""
        return self.popen is not None and self.popen.returncode is None

    def signal_stop(self) -> None:
        """Ask it to end (SIGTERM) without waiting, so that several can end side by side; `stop` must follow."""
        if self.running:
            self._signal(signal.SIGTERM)
            if self.frozen:
                self.thaw()

    def stop(self, grace: float = 3.0) -> None:
        """End it politely (SIGTERM), after `grace` seconds with SIGKILL; returns when it is gone."""
        if self.frozen and self.running:
            self.thaw()
        self._end(signal.SIGTERM, grace)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, first: signal.Signals, grace: float) -> None:
        if self.popen is None or self.popen.returncode is not None:
            return
        pid = self.popen.pid
        _signal_group(pid, first)
        try:
            wait_until(lambda: _has_ended(pid), grace, f"process {pid} gone", every=0.005)
        except WaitTimeout:
            _signal_group(pid, signal.SIGKILL)
            wait_until(lambda: _has_ended(pid), 10.0, f"process {pid} gone after SIGKILL", every=0.005)
        self._reap()

    def _reap(self) -> None:
        """Collect an ended process; before that, end whatever it left behind in its group."""
        if self.popen is None or self.popen.returncode is not None:
            return
        _signal_group(self.popen.pid, signal.SIGKILL)
        self.popen.wait(timeout=10.0)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # unsent input of a process that is gone
        self.frozen = False

    def _require_pid(self) -> int:
        pid = self.pid
        if pid is None:
            raise RuntimeError(f"{self.argv[0]} is not running")
        return pid

    def _signal(self, number: signal.Signals) -> None:
        _signal_group(self._require_pid(), number)


class _Spawner:
    """A thread that starts all processes, because PR_SET_PDEATHSIG means the death of the *thread* that forked.

    Were a fixture to start a server from a worker thread, the server would die with that thread. This one lives as
    long as the process does.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._jobs: queue.SimpleQueue[tuple[_Job, queue.SimpleQueue[object]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="testbed-spawner", daemon=True).start()

    def spawn(self, job: _Job) -> subprocess.Popen[str]:
        """Run `job` in the thread and return its process, or raise what it raised."""
        reply: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._jobs.put((job, reply))
        result = reply.get()
        if isinstance(result, subprocess.Popen):
            return result
        assert isinstance(result, BaseException)
        raise result

    def _run(self) -> None:
        while True:
            job, reply = self._jobs.get()
            try:
                reply.put(job())
            except BaseException as error:  # noqa: BLE001  handed to the caller, which raises it
                reply.put(error)


_the_spawner: _Spawner | None = None
_the_spawner_lock = threading.Lock()


def _spawner() -> _Spawner:
    """The spawner of this process; a forked child makes its own."""
    global _the_spawner
    with _the_spawner_lock:
        if _the_spawner is None or _the_spawner.pid != os.getpid():
            _the_spawner = _Spawner()
        return _the_spawner


def _has_ended(pid: int) -> bool:
    """Whether our child has ended, without reaping it. A child somebody else has reaped has ended too."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _has_stopped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # everything in the group has ended
