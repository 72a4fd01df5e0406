"""Other tools' candidates, as processes: each holds the lock again and again, and writes down when it surely held it."""

from __future__ import annotations

import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.system.daemons import boot_s

_HOLD = (
    "import time,sys;c=lambda:time.clock_gettime(time.CLOCK_BOOTTIME);a=c();time.sleep(float(sys.argv[1]));"
    "open(sys.argv[2],'a').write(f'{a} {c()}\\n')"
)
_HOLD_S = 0.4


@dataclass(frozen=True)
class Hold:
    """A peer surely held the lock from `from_s` to `until_s`, seconds since boot."""

    from_s: float
    until_s: float


class Peer(ABC):
    """One command, run again and again in a thread of its own until the block is left."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @abstractmethod
    def turn(self) -> None:
        """Run the command once."""

    @abstractmethod
    def holds(self) -> list[Hold]:
        """When it surely held the lock, so far."""

    def spawn(self, command: list[str], **files: Any) -> subprocess.Popen[bytes]:
        """Start the command as the current process."""
        env = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, **files)
        return self._process

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the block."""
        self._stop.wait(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        self._thread.join(20.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turn()
            self.pause(0.1)


class LockCommand(Peer):
    """`etcdctl lock` or `consul lock`: `command` wraps a child that notes when it began and when it ended."""

    def __init__(self, command: Callable[[list[str]], list[str]], folder: Path) -> None:
        super().__init__()
        self._notes = folder / "holds"
        self._log = folder / "peer.log"
        self._command = command([sys.executable, "-S", "-E", "-c", _HOLD, str(_HOLD_S), str(self._notes)])

    def turn(self) -> None:
        with self._log.open("ab") as log:
            self.spawn(self._command, stdout=log, stderr=log).wait()

    def holds(self) -> list[Hold]:
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [Hold(*map(float, line.split())) for line in lines]


class Electing(Peer):
    """`etcdctl elect`: prints its key when it wins, and holds until it is told to stop."""

    def __init__(self, command: list[str]) -> None:
        super().__init__()
        self._command = command
        self._found: list[Hold] = []

    def turn(self) -> None:
        process = self.spawn(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        if process.stdout.readline():
            won_s = boot_s()
            self.pause(_HOLD_S)
            self._found.append(Hold(won_s, boot_s()))
            process.terminate()
        process.wait()
        process.stdout.close()

    def holds(self) -> list[Hold]:
        return list(self._found)
