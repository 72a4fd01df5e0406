"""Other tools' candidates, as processes: each holds the lock again and again, and writes down when it surely held it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.daemons import boot_s

_HOLD = (
    "import time,sys;c=lambda:time.clock_gettime(time.CLOCK_BOOTTIME);a=c();time.sleep(float(sys.argv[1]));"
    "open(sys.argv[2],'a').write(f'{a} {c()}\\n')"
)


@dataclass(frozen=True)
class Hold:
    """A peer surely held the lock from `from_s` to `until_s`, seconds since boot."""

    from_s: float
    until_s: float


@dataclass
class LockCommand:
    """`etcdctl lock` or `consul lock`: runs a child that notes when it began and when it ended; again and again."""

    command: Callable[[list[str]], list[str]]
    """Wraps the child's command line."""
    folder: Path
    hold_s: float = 0.4
    process: subprocess.Popen[bytes] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> LockCommand:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.terminate()
        if self._thread is not None:
            self._thread.join(20.0)

    def _run(self) -> None:
        child = [sys.executable, "-S", "-E", "-c", _HOLD, str(self.hold_s), str(self.folder / "holds")]
        while not self._stop.is_set():
            with (self.folder / "peer.log").open("ab") as log:
                self.process = subprocess.Popen(
                    self.command(child),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
                )
                self.process.wait()
            self._stop.wait(0.1)

    def holds(self) -> list[Hold]:
        """What the children noted."""
        path = self.folder / "holds"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Hold(*map(float, line.split())) for line in lines]


@dataclass
class Electing:
    """`etcdctl elect`: prints its key when it wins, holds until interrupted; again and again."""

    command: list[str]
    hold_s: float = 0.4
    found: list[Hold] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Electing:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self.process is not None:
            self.process.terminate()
        if self._thread is not None:
            self._thread.join(20.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            )
            assert self.process.stdout is not None
            if self.process.stdout.readline():
                won_s = boot_s()
                self._stop.wait(self.hold_s)
                self.found.append(Hold(won_s, boot_s()))
                self.process.terminate()
            self.process.wait()
            self.process.stdout.close()
            self._stop.wait(0.1)

    def holds(self) -> list[Hold]:
        """When it surely held the election."""
        return list(self.found)
