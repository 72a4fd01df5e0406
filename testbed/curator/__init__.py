"""Real Curator peers: the Java files here, compiled on demand against Debian's Apache Curator, driven through their pipes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import fetch
from testbed.process import Process, StartError, WaitTimeout

SOURCES = sorted(Path(__file__).parent.glob("*.java"))
_JVM = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")


@dataclass(frozen=True, slots=True)
class CuratorEvent:
    """Something the peer reported: started, state, acquired, lost, participants or error.

    `ns` is CLOCK_MONOTONIC (`time.monotonic_ns()` of the same machine), taken in the JVM when it happened; `more` is
    the rest of the line, such as `reason` of a loss: held, released or interrupted.
    """

    ns: int
    event: str
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Participant:
    """A candidate as Curator sees it."""

    id: str
    leader: bool


def available() -> str | None:
    """None if the selector can run here, else the reason."""
    return fetch.available("curator")


def classpath() -> list[str]:
    """Compiled classes and jars, in class path order; compiles when needed. Raises `FetchError` or `StartError`."""
    jars = [*fetch.installed("curator").jars, *fetch.installed("zookeeper", "3.8").jars]
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in SOURCES) + "\n".join(jars).encode()).hexdigest()[:16]
    classes = fetch.cache() / f"curator-classes-{digest}"
    if not classes.is_dir():
        fetch.cache().mkdir(parents=True, exist_ok=True)
        with fetch.locked(fetch.cache() / "lock"):
            if not classes.is_dir():
                _compile(jars, classes)
    return [str(classes), *jars]


def _compile(jars: Sequence[str], target: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix="javac-", dir=target.parent))
    try:
        done = subprocess.run(
            ["javac", "-nowarn", "-proc:none", "-cp", ":".join(jars), "-d", str(staging), *map(str, SOURCES)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise StartError(f"javac: {done.stdout}{done.stderr}")
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def command(
    connect: str,
    path: str,
    id: str,  # noqa: A002  Curator's own word
    *,
    hold_ms: int,
    session_ms: int,
    recipe: str = "Selector",
) -> list[str]:
    """The command line of one candidate, for who runs it without `CuratorSelector`. Raises `FetchError` or `StartError`."""
    java = fetch.java() or "java"
    return [java, *_JVM, "-cp", ":".join(classpath()), recipe, connect, path, id, str(hold_ms), str(session_ms)]


class CuratorSelector:
    """One Curator candidate in a JVM of its own, by LeaderSelector. A context manager; all waits have a timeout.

    `connect` is ZooKeeper's connect string (`host:port,host:port`), `hold_ms` how long it leads each time (0: until
    `release`), `session_ms` the session timeout it asks for.
    """

    recipe = "Selector"

    def __init__(
        self,
        connect: str,
        path: str,
        id: str,  # noqa: A002  Curator's own word
        *,
        hold_ms: int = 0,
        session_ms: int = 10_000,
        workdir: Path | str | None = None,
        wrap: Sequence[str] = (),
    ) -> None:
        """Describe the candidate. Raises `FetchError` when Curator, Java or javac is not on this machine."""
        self.id = id
        self.events: list[CuratorEvent] = []
        self._keep = workdir is not None
        self._workdir = Path(workdir).absolute() if workdir is not None else Path(tempfile.mkdtemp(prefix="curator-"))
        self._workdir.mkdir(parents=True, exist_ok=True)
        candidate = command(connect, path, id, hold_ms=hold_ms, session_ms=session_ms, recipe=self.recipe)
        self._process = Process([*wrap, *candidate], self._workdir / f"curator-{id}.log", pipes=True)
        self._changed = threading.Condition()
        self._seen = 0
        self._ended = False

    def start(self, timeout: float = 30.0) -> Self:
        """Start the JVM and wait until it is a candidate."""
        self._ended = False
        self._process.start()
        threading.Thread(target=self._read, name=f"curator-{self.id}", daemon=True).start()
        self.wait_event("started", timeout)
        return self

    def stop(self) -> None:
        """Leave the election in an orderly way and end; killed if that takes more than a few seconds."""
        self._say("quit", quietly=True)
        self._wait_end(5.0)
        self._process.stop()
        if not self._keep:
            shutil.rmtree(self._workdir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self._process.started else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of the JVM."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once (SIGKILL): its session lives on until it expires."""
        self._process.kill()

    def freeze(self) -> None:
        """Pause it (SIGSTOP), as a long garbage collection would."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._process.thaw()

    def release(self) -> None:
        """Give up leadership, if it has it, and queue again."""
        self._say("release")

    def participants(self, timeout: float = 10.0) -> list[Participant]:
        """The candidates as Curator's `getParticipants()` tells them."""
        self._say("list")
        listed = self.wait_event("participants", timeout)
        return [Participant(str(one["id"]), bool(one["leader"])) for one in listed.more["participants"]]

    def wait_event(self, event: str, timeout: float = 30.0) -> CuratorEvent:
        """The next event of that name not returned before; those of other names before it are passed over.

        All events stay in `events`. Raises `WaitTimeout`, or `StartError` with the log when the JVM has ended.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for index in range(self._seen, len(self.events)):
                    if self.events[index].event == event:
                        self._seen = index + 1
                        return self.events[index]
                if self._ended:
                    raise StartError(f"Curator {self.id} has ended without {event!r}:\n{self._process.log_tail()}")
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    last = self.events[-3:]
                    raise WaitTimeout(f"not within {timeout:g} s: {event!r} of Curator {self.id}; last were {last}")

    def leading(self) -> bool:
        """Whether it believes that it leads, by the last event received."""
        with self._changed:
            edges = [event.event for event in self.events if event.event in ("acquired", "lost")]
        return bool(edges) and edges[-1] == "acquired"

    def _say(self, command: str, *, quietly: bool = False) -> None:
        popen = self._process.popen
        try:
            if popen is None or popen.stdin is None or popen.stdin.closed:
                raise BrokenPipeError
            popen.stdin.write(command + "\n")
            popen.stdin.flush()
        except BrokenPipeError:
            if not quietly:
                raise StartError(f"Curator {self.id} does not run:\n{self._process.log_tail()}") from None

    def _read(self) -> None:
        popen = self._process.popen
        assert popen is not None
        assert popen.stdout is not None
        try:
            for line in popen.stdout:
                more = json.loads(line)
                event = CuratorEvent(more.pop("ns"), more.pop("event"), more)
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
        except ValueError:
            pass  # the pipe was closed under us by a stop
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait_end(self, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._process.frozen, timeout)


class CuratorMutex(CuratorSelector):
    """A process that takes InterProcessMutex again and again, in a JVM of its own. It has no list of participants."""

    recipe = "Mutex"
