"""The client beside the real daemon: stopped, killed, told to leave, started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderd.client import DaemonUnreachable, Leader, NotLeader
from tests.system.daemons import START_S, DaemonProcess, wait_until

BOUND_NS = 2000
"""The figure is 1,000 ns on a machine of one's own; a shared one gets twice that."""


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    process = DaemonProcess("pod-a", f"local://{tmp_path}/store", tmp_path).start()
    yield process
    process.end()


@pytest.fixture
def leader(daemon: DaemonProcess) -> Leader:
    leader = Leader("jobs", socket=str(daemon.socket))
    wait_until(leader.is_leader, START_S, "it leads")
    return leader


def fields(daemon: DaemonProcess) -> tuple[int, ...]:
    data = (daemon.folder / "jobs.lease").read_bytes()
    assert len(data) == 64
    assert data[:4] == b"LDR1"
    return struct.unpack("<IQQQQ", data[4:40])


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_check_turns_false_by_itself_at_the_deadline(daemon: DaemonProcess, leader: Leader, number: signal.Signals) -> None:
    os.kill(daemon.pid, number)
    if number is signal.SIGKILL:
        assert daemon.process is not None
        daemon.process.wait(5)
    term = leader.look()
    assert term is not None, "the daemon is of no account before the deadline"
    until_ns = fields(daemon)[2]
    before_ns = last_yes_ns = now_ns()
    while now_ns() < until_ns + 200_000_000:
        before_ns = now_ns()
        if leader.is_leader():
            last_yes_ns = before_ns
    assert last_yes_ns < until_ns
    assert last_yes_ns > until_ns - 200_000_000
    if number is signal.SIGSTOP:
        os.kill(daemon.pid, signal.SIGCONT)


def test_voluntary_release_zeroes_the_field_before_the_daemon_ends(daemon: DaemonProcess, leader: Leader) -> None:
    leader.require("2s")
    daemon.send(signal.SIGTERM)
    wait_until(lambda: fields(daemon)[2] == 0, 1.0, "the field is zero")
    assert daemon.process is not None
    assert daemon.process.poll() is None, "the promise of two seconds is still being kept"
    assert not leader.is_leader()
    daemon.process.wait(10)
    assert not (daemon.folder / "jobs.json").exists()


def test_it_outlives_a_restart_and_a_new_file(daemon: DaemonProcess, leader: Leader) -> None:
    first = leader.token
    assert first is not None
    assert daemon.process is not None
    daemon.send(signal.SIGTERM)
    daemon.process.wait(10)
    assert not leader.is_leader()
    (daemon.folder / "jobs.lease").unlink()
    daemon.start()
    wait_until(leader.is_leader, START_S, "it leads again")
    assert leader.token is not None
    assert leader.token > first


def test_files_say_what_the_socket_says(daemon: DaemonProcess, leader: Leader) -> None:
    status, body = daemon.get("/is-leader/jobs?promise=0")
    assert status == 200
    sequence, token, until_ns, index, namespace = fields(daemon)
    assert sequence % 2 == 0
    assert (token, index) == (body["token"], body["index"])
    assert until_ns > now_ns()
    assert namespace == os.stat("/proc/self/ns/time").st_ino
    wait_until((daemon.folder / "jobs.json").exists, 5.0, "the JSON is there")
    found = wait_until(
        lambda: (text := json.loads((daemon.folder / "jobs.json").read_text())) and text["leader"] and text, 5.0, "JSON says yes"
    )
    assert found["token"] == token  # type: ignore[index]
    assert set(found) == set(body)  # type: ignore[call-overload]
    assert (daemon.folder / "jobs.lease").stat().st_mode & 0o777 == 0o640


def test_a_second_daemon_beside_the_same_files_is_refused(daemon: DaemonProcess, leader: Leader, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "leaderd", "run", "--store", f"local://{tmp_path}/store", "--election", "jobs"]
    command += ["--socket", str(daemon.folder / "other.sock"), "--http", "off", "--ops", "off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 78
    assert "another daemon writes" in done.stderr
    assert "Traceback" not in done.stderr
    assert leader.is_leader()


def test_promise_and_refusals(daemon: DaemonProcess, leader: Leader) -> None:
    term = leader.require("1s")
    assert term.token == leader.token
    assert 0.5 < term.valid_for_s <= 1.0
    term.check()
    with pytest.raises(NotLeader, match="min_valid_unmet"):
        leader.require("1h")
    with pytest.raises(NotLeader, match="other_term"):
        leader.require(token=term.token + 1)
    with pytest.raises(DaemonUnreachable, match="does not stand in unknown"):
        Leader("unknown", socket=str(daemon.socket)).require()


def test_without_the_file_it_asks_the_socket(daemon: DaemonProcess, leader: Leader, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    other = Leader("jobs", socket=str(daemon.socket), runtime_dir=str(empty))
    assert other.is_leader()
    assert other.token == leader.token
    assert Leader(socket=str(daemon.socket)).token == leader.token


def test_a_forked_child_sees_the_same(leader: Leader) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if leader.is_leader() and leader.require().token == leader.token else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_threads_that_look_at_once_see_the_same_and_never_half_of_it(daemon: DaemonProcess, leader: Leader) -> None:
    """One `Leader` for all of them, while the daemon rewrites the mapped file at every renewal and, in the end, is killed."""
    token = leader.token
    ready, over = threading.Barrier(9), threading.Event()
    seen: list[tuple[set[tuple[int, int]], set[int]]] = []

    def look() -> None:
        terms: set[tuple[int, int]] = set()
        late: set[int] = set()
        ready.wait(10.0)
        while not over.is_set():
            asked_ns = now_ns()
            term = leader.look()
            if term is not None:
                terms.add((term.token, term.valid_until_ns))
                if asked_ns >= term.valid_until_ns:
                    late.add(asked_ns)
        seen.append((terms, late))

    threads = [threading.Thread(target=look, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait(10.0)
    first = fields(daemon)[2]
    wait_until(lambda: fields(daemon)[2] > first, 10.0, "a renewal")
    daemon.kill()
    last = fields(daemon)[2]
    wait_until(lambda: now_ns() > last, 10.0, "the lease has run out")
    assert leader.look() is None
    over.set()
    for thread in threads:
        thread.join(10.0)
    assert len(seen) == 8
    for terms, late in seen:
        assert {each for each, _ in terms} == {token}
        assert {until for _, until in terms} <= {until for every, _ in seen for _, until in every}
        assert max(until for _, until in terms) <= last
        assert not late


def test_check_costs_a_microsecond(leader: Leader) -> None:
    best_ns = min(_batch_ns(leader) for _ in range(20))
    print(f"{best_ns / 1000:.0f} ns per check, token included")
    assert best_ns / 1000 < BOUND_NS


def _batch_ns(leader: Leader) -> int:
    begun_ns = time.perf_counter_ns()
    for _ in range(1000):
        leader.look()
    return time.perf_counter_ns() - begun_ns


async def test_only_runs_while_leading_plain_and_async(daemon: DaemonProcess, leader: Leader) -> None:
    skipped: list[str] = []

    @leader.only(min_valid="1s", on_skip=lambda error: skipped.append(error.reason))
    def plain() -> str:
        return "ran"

    @leader.only(min_valid="1h", on_skip=lambda error: skipped.append(error.reason))
    async def too_long() -> str:
        return "ran"

    assert plain() == "ran"
    assert await too_long() is None
    os.kill(daemon.pid, signal.SIGKILL)
    assert daemon.process is not None
    daemon.process.wait(5)
    assert plain() is None
    assert skipped == ["min_valid_unmet", "daemon_unreachable"]


def test_lease_of_another_boot_is_not_believed(daemon: DaemonProcess, leader: Leader) -> None:
    elsewhere = daemon.root / "elsewhere"
    elsewhere.mkdir()
    data = bytearray((daemon.folder / "jobs.lease").read_bytes())
    data[16:24] = struct.pack("<Q", now_ns() + 10**15)
    (elsewhere / "jobs.lease").write_bytes(data)
    assert Leader("jobs", runtime_dir=str(elsewhere)).is_leader(), "or else this test shows nothing"
    data[40] ^= 1
    (elsewhere / "jobs.lease").write_bytes(data)
    assert not Leader("jobs", runtime_dir=str(elsewhere)).is_leader()


def test_hostile_answers_are_no_yes(tmp_path: Path) -> None:
    path = str(tmp_path / "leaderd.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        pid = os.fork()
        if pid == 0:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"leader":true,"token":1}')
            os._exit(0)
        with pytest.raises(DaemonUnreachable, match="cut off"):
            Leader("jobs", socket=path).require()
        os.waitpid(pid, 0)
