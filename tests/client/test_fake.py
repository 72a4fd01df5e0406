"""`FakeLeader`: guards, holds and watches moved by hand, without a daemon; and the same pretended on a laptop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from leaderd.client import Leader, NotLeader
from leaderd.testing import FakeLeader

pytest_plugins = ["leaderd.integrations.pytest_plugin"]


def test_a_guard_is_told_and_has_time_to_finish(fake_leader: FakeLeader) -> None:
    with pytest.raises(NotLeader), fake_leader.guard():
        pass
    fake_leader.acquire()
    with fake_leader.guard("5s") as term:
        assert fake_leader.held == 1
        term.require("1s")
        assert not term.wait_ending(0)
        fake_leader.lose(finish_within_s=5.0)
        assert term.wait_ending(0)
        assert not fake_leader.is_leader()
        term.require("1s")
        with pytest.raises(NotLeader, match="is over"):
            term.require("10s")
    assert fake_leader.held == 0


def test_a_promise_that_is_over(fake_leader: FakeLeader) -> None:
    fake_leader.acquire()
    with fake_leader.guard() as term:
        fake_leader.acquire()
        with pytest.raises(NotLeader):
            term.require()
        assert term.token == 1
        assert fake_leader.token == 2
    with pytest.raises(NotLeader, match="min_valid_unmet"), fake_leader.guard(min_valid="2h"):
        pass


async def test_a_hold_cancels_its_task(fake_leader: FakeLeader) -> None:
    fake_leader.acquire()

    async def work() -> None:
        async with fake_leader.hold() as term:
            fake_leader.lose(finish_within_s=1.0)
            assert term.ending
            await asyncio.Event().wait()

    with pytest.raises(NotLeader, match="draining"):
        await asyncio.wait_for(work(), 10)
    assert fake_leader.held == 0


def test_a_watch(fake_leader: FakeLeader) -> None:
    changes = iter(fake_leader.watch())
    assert next(changes) == (False, None)
    timer = threading.Timer(0.01, fake_leader.acquire)
    timer.start()
    assert next(changes) == (True, 1)
    fake_leader.acquire(valid_for_s=0.02)
    assert next(changes) == (True, 2)
    assert next(changes) == (False, None)


async def test_a_watch_without_blocking(fake_leader: FakeLeader) -> None:
    async with asyncio.timeout(10):
        async for change in fake_leader.watch():
            if change.leader:
                break
            fake_leader.acquire()


async def test_pretended_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADERD_DISABLED", "leader")
    with Leader("jobs").guard("5s") as term:
        term.require("1h")
    async with Leader("jobs").hold() as term:
        assert term.token == 1
    assert next(iter(Leader("jobs").watch())) == (True, 1)
    monkeypatch.setenv("LEADERD_DISABLED", "follower")
    with pytest.raises(NotLeader), Leader("jobs").guard():
        pass
    assert next(iter(Leader("jobs").watch())) == (False, None)
