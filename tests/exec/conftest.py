"""A real daemon that leads on a local store, and real `leaderd exec` processes beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.daemons import DaemonProcess, wait_until

PATIENCE_S = 30.0
"""What takes longer hangs. Nothing is proven by its being quicker; the commands themselves last longer than this."""


@dataclass
class Bed:
    """One daemon, and the processes of `leaderd exec` that were started beside it."""

    folder: Path
    daemon: DaemonProcess
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *options: str, script: str = "", argv: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start `leaderd exec OPTIONS -- sh -c SCRIPT`, or `-- ARGV`."""
        command = argv or ("sh", "-c", script)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("LEADERD_")}
        environ |= {"LEADERD_SOCKET": str(self.daemon.socket), "BED": str(self.folder)}
        with (self.folder / "err").open("ab") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "leaderd", "exec", *options, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                env=environ,
            )
        self.started.append(process)
        return process

    def read(self, name: str, within_s: float = PATIENCE_S) -> str:
        """A whole line that the command wrote into file `name`."""
        path = self.folder / name
        return wait_until(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text().strip(), within_s, name)

    def pid(self, name: str) -> int:
        return int(self.read(name))

    def said(self) -> str:
        return (self.folder / "err").read_text()


def living(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stopped(pid: int) -> bool:
    return re.search(r"^State:\s+T", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is not None


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def make_bed(tmp_path: Path) -> Iterator[Callable[..., Bed]]:
    beds: list[Bed] = []

    def make(leads: bool = True, url: str = f"local://{tmp_path}/store", **options: object) -> Bed:
        daemon = DaemonProcess(f"pod-{len(beds)}", url, tmp_path, **options)  # type: ignore[arg-type]
        bed = Bed(tmp_path, daemon)
        beds.append(bed)
        daemon.start()
        if leads:
            wait_until(daemon.leads, 20.0, "the daemon leads")
        else:
            wait_until(lambda: daemon.get("/startupz")[0] == 200, 10.0, "the daemon has started")
        return bed

    yield make
    for bed in beds:
        for process in bed.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(PATIENCE_S)
        bed.daemon.end()


@pytest.fixture
def bed(make_bed: Callable[..., Bed]) -> Bed:
    """One daemon, leading `jobs` with a ttl of 3 s."""
    return make_bed()
