"""A container as a process: started, stopped, killed and frozen by the engine, and told by it how it ended."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos.containers import override
from chaos.containers.project import Project, unless_ended
from chaos.program import Program
from chaos.substrates import CannotInject
from chaos.workload import life
from testbed.process import StartError, WaitTimeout, wait_until

_BEGINS_S = 30.0
_GOES_ON_S = 10.0
_BY_SIGNAL = 128
"""The engine adds this to the signal that ended the first process of a container."""


class Contained(Program):
    """The container of one service. `joined` is called when its network is a new one: after each start of whoever owns it."""

    def __init__(self, project: Project, service: str, log: Path | None = None, joined: Callable[[], None] | None = None) -> None:
        """`log`: the file that it writes, if it does; what it prints the engine keeps."""
        super().__init__([service], log or Path(os.devnull))
        self._project = project
        self._service = service
        self._joined = joined
        self._asked_to_run = False

    @property
    def pid(self) -> int | None:
        """As the engine numbers it, which need not be as we do."""
        state = self._state()
        return int(state["Pid"]) if state["Running"] else None

    @property
    def running(self) -> bool:
        """By the engine's word; a frozen one runs."""
        return bool(self._state()["Running"])

    @property
    def started(self) -> bool:
        """Whether it was started and has not been stopped or killed by us since."""
        return self._asked_to_run

    @property
    def stands_still(self) -> bool:
        """By the engine's word, which waits for the kernel to have stopped every thread."""
        return bool(self._state()["Paused"])

    @property
    def exit_code(self) -> int | None:
        """As of a process of this machine: negative for a signal."""
        state = self._state()
        if state["Running"] or not self._ever():
            return None
        code = int(state["ExitCode"])
        return _BY_SIGNAL - code if code > _BY_SIGNAL else code

    def start(self) -> None:
        """Start it. Raises `StartError` if it runs already, or has ended before its network was joined."""
        if self.running:
            raise StartError(f"{self._service} is already running")
        self.frozen = False
        self._asked_to_run = True
        self._project.container(self._service).start()
        if self._joined is None:
            return
        try:
            self._joined()
        except (OSError, CannotInject) as error:  # what the engine refuses is an OSError, too
            if self.running:
                raise
            raise StartError(f"{self._service} has ended: {self.log_tail()}") from error

    def freeze(self) -> None:
        """Stop every thread of it (`docker pause`). Raises `RuntimeError` if it has ended."""
        with unless_ended(RuntimeError(f"{self._service} is not running")):
            self._project.container(self._service).pause()
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on, if the engine has stopped it."""
        if self._state()["Paused"]:
            with unless_ended(None):
                self._project.container(self._service).unpause()
        self.frozen = False

    def kill(self) -> None:
        """SIGKILL; nothing happens if it has ended before."""
        self._asked_to_run = False
        if self.running:
            with unless_ended(None):
                self._project.container(self._service).kill()
            self._until_ended(10.0)

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """To its first process, which has no others. Raises `ProcessLookupError` if it has ended."""
        with unless_ended(ProcessLookupError(f"{self._service} does not run")):
            self._project.container(self._service).kill(number.name)

    def _signal(self, number: signal.Signals) -> None:
        """By the engine: its number of the process may be another's here."""
        with suppress(ProcessLookupError):
            self.send(number)

    def stop(self, grace: float = 3.0) -> None:
        """End it politely, after `grace` seconds with SIGKILL."""
        self._asked_to_run = False
        if self.running:
            self.thaw()
            self._project.container(self._service).stop(timeout=max(1, round(grace)))

    def log_tail(self, lines: int = 30) -> str:
        """What it has printed last, as the engine keeps it; else the end of the file that it writes."""
        try:
            said: bytes = self._project.container(self._service).logs(tail=lines)
        except OSError as error:  # the engine may have been told to keep none
            return f"(no log: {error})"
        return said.decode(errors="replace").strip() or super().log_tail(lines)

    def _until_ended(self, within_s: float) -> None:
        wait_until(lambda: not self.running, within_s, f"{self._service} gone")

    def _ever(self) -> bool:
        return not str(self._state()["StartedAt"]).startswith("0001-")

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._project.container(self._service).attrs["State"]
        return found


class Launched(Contained):
    """A program of a pod: its container becomes what the order says (`chaos.containers.override`)."""

    def __init__(
        self,
        project: Project,
        service: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        joined: Callable[[], None] | None = None,
        first: Contained | None = None,
    ) -> None:
        """`first`: whose network it shares, so that it has to run before."""
        super().__init__(project, service, log, joined)
        self._first = first
        self._stat = override.order(project.folder, service).with_suffix(".stat")
        order = override.started_with(argv, sys.executable, env, log, self._stat)
        override.order(project.folder, service).write_text(json.dumps(order), encoding="utf-8")

    @property
    def life(self) -> str | None:
        """As the process itself has read it in the kernel: it is the same number here."""
        return life.of_stat(self._stat.read_text(encoding="utf-8")) if self._stat.exists() else None

    def start(self) -> None:
        """Start it, and wait until it has become what it is to be. One that runs already, for others share its network, goes on."""
        if self._first is not None and not self._first.running:
            self._first.start()
        if self.running and self._asked_to_run:
            return
        self._stat.unlink(missing_ok=True)
        super().start()
        try:
            wait_until(lambda: self._stat.exists() or not self.running, _BEGINS_S, f"{self._service} begins")
        except WaitTimeout as error:
            raise StartError(f"{error}: does the engine see the files of this machine?") from None
        if not self._stat.exists():
            raise StartError(f"{self._service} has ended: {self.log_tail()}")

    def _inner_pid(self) -> str:
        """In the container."""
        return self._stat.read_text(encoding="utf-8").split()[0]

    def connected(self) -> list[str]:
        """Asked where it is, by the agent in its network."""
        hosts = {service: host for host, service in self._project.layout.daemons.items()}
        return [str(each) for each in self._project.ask(hosts[self._service], "connected")]


class Beside(Launched):
    """An app: it may stop itself, which the engine does not know of."""

    @property
    def stands_still(self) -> bool:
        """By the engine's word, or by that of the kernel in the container."""
        if super().stands_still:
            return True
        look = f"print(open('/proc/{self._inner_pid()}/stat').read().rpartition(')')[2].split()[0])"
        said: bytes = b""
        with unless_ended(None):
            said = self._project.container(self._service).exec_run(["python3", "-c", look]).output
        return said.strip() == b"T"

    def thaw(self) -> None:
        """Let it go on, whoever has stopped it."""
        super().thaw()
        if self.running:
            self._signal(signal.SIGCONT)
            wait_until(lambda: not self.stands_still, _GOES_ON_S, f"{self._service} goes on")
