"""The examples in Java and Go: compiled without a warning, then run against the real daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import testbed
from testbed import fetch
from tests.system.daemons import START_S, DaemonProcess, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRIAL = Path(__file__).with_name("java") / "LeaderOnlyTrial.java"

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    process = DaemonProcess("pod-a", f"local://{tmp_path}/store", tmp_path, ttl="10s", elections=("daily-report",))
    process.start()
    wait_until(lambda: process.leads("daily-report"), START_S, "it leads")
    yield process
    process.end()


def run(command: list[str], socket: Path | None = None, cwd: Path | None = None, **environ: str) -> str:
    """What a command printed; it must succeed."""
    env = {**os.environ, **environ} | ({"LEADERD_SOCKET": str(socket)} if socket else {})
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works_while_leading(daemon: DaemonProcess, command: list[str]) -> Callable[[], None]:
    """The example leads with the daemon's token, and skips where there is no daemon, or another election."""
    _, body = daemon.get("/is-leader/daily-report?promise=0")
    assert f"working, X-Fencing-Token: {body['token']}" in run(command, daemon.socket)
    assert "skipped" in run(command, daemon.folder / "none.sock")

    def elsewhere() -> None:
        assert "skipped" in run([*command, "no such/election"], daemon.socket)

    return elsewhere


def javac(target: Path, jars: tuple[str, ...], *sources: Path) -> None:
    path = ":".join(jars) or str(target)
    lint = "-Xlint:all,-classfile,-path"  # Debian's jars name others that are not there
    run(["javac", lint, "-Werror", "-cp", path, "-d", str(target), *map(str, sources)])


def test_java(daemon: DaemonProcess, tmp_path: Path) -> None:
    java = fetch.java()
    if java is None or shutil.which("javac") is None:
        testbed.lacking("compiler", "javac is not on PATH")
    javac(tmp_path, (), *(EXAMPLES / "java").glob("*.java"))
    works_while_leading(daemon, [java, "-cp", str(tmp_path), "Worker"])()


def test_leader_only_with_spring(daemon: DaemonProcess, tmp_path: Path) -> None:
    testbed.require("spring")
    jars = fetch.installed("spring").jars
    javac(tmp_path, jars, *(EXAMPLES / "java").rglob("*.java"), TRIAL)
    command = [str(fetch.java()), "-cp", ":".join((str(tmp_path), *jars)), "LeaderOnlyTrial"]
    works_while_leading(daemon, command)
    assert "no token outside" in run(command, daemon.socket)


def test_go(daemon: DaemonProcess, tmp_path: Path) -> None:
    testbed.require("golang")
    programs = fetch.installed("golang").programs
    source, worker = EXAMPLES / "go", tmp_path / "worker"
    assert run([programs["gofmt"], "-l", "."], cwd=source) == ""
    root = str(Path(programs["go"]).parents[1])
    # Nothing is looked up anywhere: the standard library is all it needs.
    offline = {"GOROOT": root, "GOPROXY": "off", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0", "GOCACHE": str(tmp_path / "cache")}
    run([programs["go"], "vet", "./..."], cwd=source, **offline)
    run([programs["go"], "build", "-o", str(worker), "."], cwd=source, **offline)
    works_while_leading(daemon, [str(worker)])()
