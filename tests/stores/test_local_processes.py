"""The local store between processes: killed, frozen, out of disk, without permission."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leaderd.stores.address import StoreAddress
from testbed import lacking
from tests.contract.harness import Bench
from tests.contract.operators import LocalOperator
from tests.contract.wires import LockedFile

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    directory = tmp_path / "store"
    made = Bench("local", StoreAddress("local", (), str(directory), False), LocalOperator(directory), lambda: LockedFile(directory))
    yield made
    await made.aclose()


class Peer:
    """A candidate in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, directory: Path, name: str, ttl_s: float) -> Peer:
        command = [sys.executable, "-m", "tests.stores.local_peer", str(directory), name, str(ttl_s)]
        pipe = asyncio.subprocess.PIPE
        peer = cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT))
        await peer.said("Queued")
        return peer

    async def said(self, what: str, within_s: float = 15.0) -> float:
        """Wait until the peer says `what`; returns when it did."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            while True:
                line = (await self.process.stdout.readline()).decode().split(maxsplit=1)
                assert line, "the peer ended"
                if line[1].startswith(what):
                    return float(line[0])

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def test_take_over_after_sigkill_within_ttl_and_100_ms(bench: Bench, tmp_path: Path) -> None:
    took_s = []
    for attempt in range(3):  # a busy machine may hold the heir up, not three times
        one = await Peer.start(tmp_path / f"store{attempt}", "one", 1.0)
        two = await Peer.start(tmp_path / f"store{attempt}", "two", 1.0)
        try:
            await one.said("claimed")
            killed_s = bench.now_s()
            one.process.send_signal(signal.SIGKILL)
            took_s.append(await two.said("claimed") - killed_s)
        finally:
            await one.end()
            await two.end()
        if took_s[-1] <= 1.1:
            return
    raise AssertionError(took_s)


async def test_hand_over_at_once_between_processes(bench: Bench, tmp_path: Path) -> None:
    took_s = []
    for attempt in range(3):
        one = await Peer.start(tmp_path / f"store{attempt}", "one", 10.0)
        two = await Peer.start(tmp_path / f"store{attempt}", "two", 10.0)
        try:
            await one.said("claimed")
            assert one.process.stdin is not None
            one.process.stdin.write(b"resign\n")
            resigned_s = await one.said("resigning")
            took_s.append(await two.said("claimed") - resigned_s)
            assert await one.process.wait() == 0
        finally:
            await one.end()
            await two.end()
        if took_s[-1] < 0.05:  # about 1 ms on an idle machine; the probe alone would take up to 400
            return
    raise AssertionError(took_s)


async def test_a_frozen_leader_finds_its_session_gone(bench: Bench, tmp_path: Path) -> None:
    one = await Peer.start(tmp_path / "store", "one", 1.0)
    two = await Peer.start(tmp_path / "store", "two", 1.0)
    try:
        await one.said("claimed")
        one.process.send_signal(signal.SIGSTOP)
        await two.said("claimed")
        one.process.send_signal(signal.SIGCONT)
        await one.said("SessionGone")
    finally:
        await one.end()
        await two.end()


async def test_bells_and_sessions_of_killed_processes_are_cleaned_up(bench: Bench, tmp_path: Path) -> None:
    one = await Peer.start(tmp_path / "store", "one", 1.0)
    await one.end()
    two = await bench.candidate(ttl_s=1.0)
    two.keep_renewing()
    await two.lead(within_s=3.0)
    assert len(await bench.operator.session_ids()) == 1
    await bench.until(lambda: len(list((tmp_path / "store").glob("wake-*"))) == 1, 2.0, "one bell")


FULL = """
import asyncio, sys
from pathlib import Path
from leaderd.stores.address import StoreAddress
from tests.contract.harness import Bench
from tests.contract.operators import LocalOperator
from tests.contract.wires import LockedFile
from leaderd.election.commands import OpenSession, Stand
from leaderd.election.events import SessionFailed, SessionOpened

async def main(directory):
    path = Path(directory, "store")
    bench = Bench("local", StoreAddress("local", (), str(path), False), LocalOperator(path), lambda: LockedFile(path))
    one = await bench.candidate(open_session=False)
    filler = Path(directory, "filler")
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    one.epoch = 1
    one.submit(OpenSession(1, 5.0))
    print((await one.expect(SessionFailed)).problem.detail)
    filler.unlink()
    await one.open()
    print((await one.lead()).token)
    await bench.aclose()

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_is_a_problem_and_mends(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode != 0:
        lacking("namespace", "a small tmpfs needs unprivileged user namespaces")
    script = f'mount -t tmpfs -o size=512k,mode=0700 tmpfs "$0" && exec "{sys.executable}" -c "$1" "$0"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, str(tmp_path), FULL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    problem, token = done.stdout.splitlines()
    assert "disk" in problem or "space" in problem.lower()
    assert token == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_directory_of_root_is_denied_to_others() -> None:
    code = """
import asyncio, os, sys
from pathlib import Path
from leaderd.stores.local import files
from leaderd.stores.local.problem import LocalError
os.setresuid(65534, 65534, 65534)
try:
    files.prepare(Path(sys.argv[1]))
except LocalError as error:
    print(error.problem.reason, error.problem.detail)
"""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        command = [sys.executable, "-c", code, directory]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.startswith("permission_denied"), done.stderr
    assert "65534" in done.stdout
