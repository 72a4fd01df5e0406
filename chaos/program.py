"""A program of a pod: its daemon, or the app beside it, and what a history has to tell of it besides."""

from __future__ import annotations

import os
import signal
from typing import Literal

from chaos.containers.agent import connected
from chaos.workload import life
from testbed.process import Process

Part = Literal["app", "daemon"]


class Program(Process):
    """A process of this machine."""

    @property
    def life(self) -> str | None:
        """What tells this process from the one before it (`chaos.workload.life`); None if none was ever started."""
        return None if self.popen is None else life.of(self.popen.pid)

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for the signal that ended it; None while it runs."""
        if self.popen is None or self.running:
            return None
        self.kill()  # reaps what has ended
        return self.popen.returncode

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """A signal to it, or to all that it has started too. Raises `ProcessLookupError` if it has ended."""
        pid = self.pid
        if pid is None:
            raise ProcessLookupError(f"{self.argv[0]} does not run")
        (os.killpg if group else os.kill)(pid, number)

    def connected(self) -> list[str]:
        """The addresses (IPv4) at the other ends of the connections in its network namespace, once for each."""
        return [] if self.pid is None else connected(self.pid)
