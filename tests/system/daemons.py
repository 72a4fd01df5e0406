"""Real daemons as processes, and a watcher that polls them all and keeps what each one claimed, on one clock."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


START_S = 45.0
"""Within this time a daemon that was just started leads: what it needs is half a second of the processor, but on a busy machine a
process gets that slowly. (28 s were seen, with sixteen spinning beside it on two cores.) Nothing is proven by its being quick."""


def boot_s() -> float:
    """Seconds on CLOCK_BOOTTIME, the clock of every deadline."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait_until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """The first true value of `condition`; fails when there is none within `within_s`."""
    end_s = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass
class DaemonProcess:
    """One `leaderd run`, its socket and its log."""

    name: str
    store_url: str
    root: Path
    elections: tuple[str, ...] = ("jobs",)
    ttl: str = "3s"
    config: str = ""
    """More YAML, appended to the generated configuration."""
    http: str = "off"
    ops: str = "off"
    grpc: str = "off"
    before: tuple[str, ...] = ()
    """What its command line begins with: `("prlimit", "--nofile=64", ...)`."""
    instance: str = ""
    """Its name in the store, if not `name`."""
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "leaderd.sock"

    @property
    def config_file(self) -> Path:
        return self.folder / "leaderd.yaml"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> DaemonProcess:
        self.folder.mkdir(exist_ok=True)
        names = "".join(f"  - name: {name}\n" for name in self.elections)
        instance = json.dumps(self.instance or self.name)
        self.config_file.write_text(
            f"instance: {instance}\nstore: {{url: '{self.store_url}'}}\ntiming: {{ttl: {self.ttl}}}\nelections:\n{names}"
            f"listen: {{http: {self.http}, ops: {self.ops}, socket: {{path: {self.socket}}}, grpc: '{self.grpc}'}}\n"
            f"log: {{format: json}}\n{self.config}"
        )
        self.starts += 1
        environ = {k: v for k, v in os.environ.items() if not k.startswith("LEADERD_")}
        environ["LEADERD_RUNTIME_DIR"] = str(self.folder)
        command = [*self.before, sys.executable, "-m", "leaderd", "run", "--config", str(self.config_file)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        return self

    def get(self, path: str, timeout_s: float = 1.0) -> tuple[int, Any]:
        """GET over the Unix socket: status and JSON, or text where it is none; status 0 when nobody answers."""
        connection = UnixConnection(self.socket, timeout_s)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
            return reply.status, json.loads(body) if "json" in reply.headers["Content-Type"] else body.decode()
        except (OSError, ValueError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()

    def leads(self, election: str = "jobs") -> bool:
        """Whether it says yes now, without a promise."""
        return self.get(f"/is-leader/{election}?promise=0")[0] == 200

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        text = (self.folder / "log").read_text(errors="replace")
        lines = []
        for line in text.splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return lines

    def says(self, text: str, within_s: float = 5.0) -> dict[str, Any]:
        """The first log line whose message holds `text`."""
        return wait_until(
            lambda: next((line for line in self.lines() if text in str(line.get("msg"))), None),
            within_s,
            f"{self.name} says {text!r}",
        )  # type: ignore[return-value]

    def url(self, listener: str = "app") -> str:
        """Where a TCP listener answers; it has to be on."""
        return "http://" + str(self.says("starting")["listening"][listener])

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait(5.0)

    def wait(self, within_s: float) -> int:
        assert self.process is not None
        return self.process.wait(within_s)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        """Whatever state it is in: gone afterwards."""
        if self.running():
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL)
            self.wait(5.0)


@dataclass(frozen=True)
class Claim:
    """One yes: surely claimed by `instance` under `token` from `from_s` (it was received) until `until_s` (its promise ends)."""

    instance: str
    token: int
    from_s: float
    until_s: float


@dataclass
class Watcher:
    """Polls every daemon in a thread of its own, asking for a promise each time, and keeps each yes."""

    daemons: list[DaemonProcess]
    election: str = "jobs"
    promise: str = "200ms"
    claims: list[Claim] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Watcher:
        for daemon in self.daemons:
            thread = threading.Thread(target=self._poll, args=(daemon,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)

    def _poll(self, daemon: DaemonProcess) -> None:
        while not self._stop.wait(0.01):
            status, answer = daemon.get(f"/is-leader/{self.election}?promise={self.promise}", timeout_s=0.5)
            got_s = boot_s()
            if status == 200:
                until_s = answer["valid_until_boottime_ns"] / 1e9
                self.claims.append(Claim(daemon.name, answer["token"], got_s, until_s))

    def leader(self) -> str | None:
        """Who said yes last, if that promise still holds."""
        last = max(self.claims, key=lambda claim: claim.from_s, default=None)
        return last.instance if last is not None and boot_s() < last.until_s else None

    def check(self) -> None:
        """No promise of one term reaches into another's; tokens only rise, and each belongs to one instance."""
        assert self.claims, "nobody ever led: nothing was tested"
        claims = sorted(self.claims, key=lambda claim: claim.from_s)
        owners: dict[int, str] = {}
        until: dict[int, float] = {}
        highest = 0
        for claim in claims:
            assert owners.setdefault(claim.token, claim.instance) == claim.instance, f"token {claim.token} belongs to two"
            assert claim.token >= highest, f"token {claim.token} after {highest}"
            highest = claim.token
            for token, until_s in until.items():
                overlap_ms = (until_s - claim.from_s) * 1000
                assert token == claim.token or overlap_ms <= 0, (
                    f"{claim} while token {token} was promised for {overlap_ms:.1f} ms more"
                )
            until[claim.token] = max(until.get(claim.token, 0.0), claim.until_s)

    def tokens(self) -> list[int]:
        """The tokens that led, in order."""
        return sorted({claim.token for claim in self.claims})
