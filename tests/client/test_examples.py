"""The examples, run against the real daemon by the interpreters that are there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import lacking
from tests.system.daemons import START_S, DaemonProcess, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMMANDS = {
    "shell": ["sh", str(EXAMPLES / "shell/nightly.sh")],
    "python": [sys.executable, str(EXAMPLES / "python/worker.py")],
    "node": ["node", str(EXAMPLES / "node/worker.mjs")],
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    process = DaemonProcess("pod-a", f"local://{tmp_path}/store", tmp_path, ttl="10s", elections=("daily-report",))
    process.start()
    yield process
    process.end()


def run(language: str, socket: Path, path: str) -> subprocess.CompletedProcess[str]:
    command = COMMANDS[language]
    if shutil.which(command[0]) is None:
        lacking("interpreter", f"{command[0]} is not installed")
    environ = {**os.environ, "LEADERD_SOCKET": str(socket), "PATH": path}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("language", ["python", "node"])
def test_example_works_while_leading_and_skips_without_a_daemon(language: str, daemon: DaemonProcess) -> None:
    wait_until(lambda: daemon.leads("daily-report"), START_S, "it leads")
    _, body = daemon.get("/is-leader/daily-report?promise=0")
    done = run(language, daemon.socket, os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    assert f"X-Fencing-Token: {body['token']}" in done.stdout
    gone = run(language, daemon.folder / "none.sock", os.environ["PATH"])
    assert gone.returncode == 0
    assert "skipped" in gone.stdout


def test_shell_example(daemon: DaemonProcess, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "leaderd").write_text(f'#!/bin/sh\nexec {sys.executable} -m leaderd "$@"\n')
    (tools / "leaderd").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    wait_until(lambda: daemon.leads("daily-report"), START_S, "it leads")
    short = subprocess.run(["sh", "-n", COMMANDS["shell"][1]], capture_output=True)
    assert short.returncode == 0
    done = run("shell", daemon.socket, path)
    assert done.returncode == 0
    assert "running daily-report in term " in done.stdout, done.stderr
    assert run("shell", daemon.folder / "none.sock", path).returncode == 3
