"""Work in flight beside the real daemon: a hand-over waits for it, as long as was promised and no longer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaderd.client import DaemonUnreachable, Leader, NotLeader
from leaderd.client.line import Line
from tests.system.daemons import START_S, DaemonProcess, boot_s, wait_until


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


def exit_s(daemon: DaemonProcess) -> float:
    """When the daemon has ended."""
    assert daemon.process is not None
    assert daemon.process.wait(15) == 0
    return boot_s()


def test_sigterm_waits_for_a_guard_and_not_for_the_rest_of_its_promise(daemon: DaemonProcess, leader: Leader) -> None:
    with leader.guard("2500ms") as term:
        assert term.token == leader.token
        begun_s = boot_s()
        daemon.send(signal.SIGTERM)
        assert term.wait_ending(2.0)
        assert term.reason == "draining"
        assert not leader.is_leader()
        term.require("500ms")  # there is time to finish
        told_s = boot_s()
        assert told_s - begun_s < 1.0
        assert daemon.process is not None
        assert daemon.process.poll() is None
        left_s = term.valid_for_s
    assert exit_s(daemon) - told_s < left_s - 0.5, "closing gave the promise back"


def test_sigterm_waits_no_longer_than_was_promised(daemon: DaemonProcess, leader: Leader) -> None:
    with leader.guard("1500ms") as term:
        daemon.send(signal.SIGTERM)
        assert term.wait_ending(2.0)
        until_s = term.valid_until_ns / 1e9
        ended_s = exit_s(daemon)
        assert until_s - 0.01 <= ended_s < until_s + 1.0
        with pytest.raises(NotLeader, match="is over"):
            term.require()


def test_a_hand_over_follows_at_once(daemon: DaemonProcess, leader: Leader, tmp_path: Path) -> None:
    other = DaemonProcess("pod-b", daemon.store_url, tmp_path).start()
    try:
        elsewhere = Leader("jobs", socket=str(other.socket))
        wait_until(lambda: other.get("/is-leader")[1].get("state") == "follower", 20.0, "the other stands")
        with leader.guard("2500ms") as term:
            daemon.send(signal.SIGTERM)
            assert term.wait_ending(2.0)
            assert not elsewhere.is_leader()
            left_s, begun_s = term.valid_for_s, boot_s()
        wait_until(elsewhere.is_leader, 5.0, "the other leads")
        assert boot_s() - begun_s < left_s - 0.3
    finally:
        other.end()


def test_it_is_extended_as_long_as_the_work_takes(daemon: DaemonProcess, leader: Leader) -> None:
    with leader.guard("300ms") as term:
        first_ns = term.valid_until_ns
        wait_until(lambda: term.valid_until_ns > first_ns + 1_000_000_000, 5.0, "it is extended")
        assert not term.ending
        term.require()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_lost_daemon_takes_nothing_back(daemon: DaemonProcess, leader: Leader, number: signal.Signals) -> None:
    with leader.guard("2s") as term:
        os.kill(daemon.pid, number)
        until_ns = term.valid_until_ns
        term.require("500ms")
        assert term.wait_ending(5.0)
        assert boot_s() < until_ns / 1e9, "told in time"
        assert term.reason == "daemon_unreachable"
        wait_until(lambda: term.valid_for_s == 0, 5.0, "the promise is over")
        assert boot_s() < until_ns / 1e9 + 2.0
        with pytest.raises(NotLeader):
            term.require()
        if number is signal.SIGSTOP:
            os.kill(daemon.pid, signal.SIGCONT)


def test_a_frozen_app_is_not_told_too_late(daemon: DaemonProcess, leader: Leader, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            with leader.guard("1s") as term:
                (tmp_path / "ready").touch()
                signal.raise_signal(signal.SIGSTOP)
                # Awake again; the listening thread may not even have run yet.
                try:
                    term.require()
                except NotLeader:
                    code = 0
        finally:
            os._exit(code)
    wait_until((tmp_path / "ready").exists, 5.0, "it holds")
    os.waitpid(pid, os.WUNTRACED)
    daemon.send(signal.SIGTERM)
    exit_s(daemon)
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_who_does_not_lead_does_not_hold(daemon: DaemonProcess, leader: Leader, tmp_path: Path) -> None:
    with pytest.raises(NotLeader, match="min_valid_unmet"), leader.guard(min_valid="1h"):
        pass
    with pytest.raises(DaemonUnreachable, match="does not stand in"), Leader("unknown", socket=str(daemon.socket)).guard():
        pass
    with pytest.raises(DaemonUnreachable, match="start `leaderd run`"), Leader("jobs", socket=str(tmp_path / "no")).guard():
        pass
    with pytest.raises(ValueError, match="no duration"), leader.guard("soon"):
        pass
    with Leader(socket=str(daemon.socket)).guard() as term:
        assert term.token == leader.token


def test_many_threads_hold_at_once(leader: Leader) -> None:
    tokens: list[int] = []

    def work() -> None:
        with leader.guard("500ms") as term:
            term.require()
            tokens.append(term.token)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert tokens == [leader.token] * 8
    wait_until(lambda: not any(t.name == "leaderd-hold" for t in threading.enumerate()), 5.0, "no listener is left")


async def held_until_cancelled(
    daemon: DaemonProcess, leader: Leader, promise: str, number: signal.Signals, enough: Callable[[float], bool]
) -> None:
    async with leader.hold(promise) as term:
        daemon.send(number)
        try:
            await asyncio.Event().wait()
        finally:
            assert enough((term.valid_until_ns - now_ns()) / 1e9)


async def test_a_task_is_cancelled_in_time(daemon: DaemonProcess, leader: Leader) -> None:
    with pytest.raises(NotLeader, match="draining"):
        await held_until_cancelled(daemon, leader, "1500ms", signal.SIGTERM, lambda left_s: left_s > 0.5)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_task_is_cancelled_before_a_silent_daemons_promise_ends(daemon: DaemonProcess, leader: Leader) -> None:
    with pytest.raises(NotLeader, match="daemon_unreachable"):
        await held_until_cancelled(daemon, leader, "1s", signal.SIGSTOP, lambda left_s: left_s > 0)
    daemon.send(signal.SIGCONT)


async def test_other_cancellations_and_errors_stay_what_they_are(leader: Leader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), leader.hold():
            await asyncio.Event().wait()
    with pytest.raises(ZeroDivisionError):
        async with leader.hold():
            raise ZeroDivisionError
    async with leader.guard() as term:
        term.require()


async def test_a_watch_hears_at_once_and_outlives_the_daemon(daemon: DaemonProcess, leader: Leader) -> None:
    token = leader.token
    changes = leader.watch().__aiter__()
    async with asyncio.timeout(20):
        assert await anext(changes) == (True, token)
        daemon.send(signal.SIGTERM)
        assert await anext(changes) == (False, None)
        await asyncio.to_thread(exit_s, daemon)
        await asyncio.to_thread(daemon.start)
        again = await anext(changes)
        assert again.leader
        assert again.token is not None
        assert token is not None
        assert again.token > token
        await changes.aclose()  # type: ignore[attr-defined]


def test_a_blocking_watch_turns_false_by_itself(daemon: DaemonProcess, leader: Leader) -> None:
    changes = iter(leader.watch())
    assert next(changes).leader
    daemon.kill()
    assert next(changes) == (False, None)
    assert boot_s() * 1e9 >= (daemon_deadline_ns(daemon) or 0) - 50_000_000
    changes.close()  # type: ignore[attr-defined]


def daemon_deadline_ns(daemon: DaemonProcess) -> int:
    data = (daemon.folder / "jobs.lease").read_bytes()
    return int.from_bytes(data[16:24], "little")


def test_a_hold_is_dated_from_before_the_question(tmp_path: Path) -> None:
    """A daemon whose clock is an hour ahead, and an answer that was half a second on its way."""
    path = str(tmp_path / "leaderd.sock")
    hour_ns = 3600 * 10**9
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                body = {"valid_for_ms": 1000, "valid_until_boottime_ns": now_ns() + hour_ns + 10**9, "token": 1}
                threading.Event().wait(0.5)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                connection.sendall(head + b"event: held\ndata: " + json.dumps(body).encode() + b"\n\n")

        thread = threading.Thread(target=answer)
        thread.start()
        before_ns = now_ns()
        line = Line(path, "/v1/elections/jobs/hold")
        event = line.next(5.0)
        assert event is not None
        until_ns = line.until_ns(event[1])
        assert before_ns + 0.95e9 < until_ns < before_ns + 1.2e9
        assert until_ns < now_ns() + 0.7e9
        line.close()
        thread.join()


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
