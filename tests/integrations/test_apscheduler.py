"""With the real APScheduler 3."""

from __future__ import annotations

import threading

import pytest

from leaderd.integrations.apscheduler import bind
from leaderd.testing import FakeLeader
from tests.system.daemons import wait_until

background = pytest.importorskip("apscheduler.schedulers.background")


def test_runs_only_while_leading() -> None:
    from apscheduler.schedulers.base import STATE_PAUSED, STATE_RUNNING

    leader, ran = FakeLeader(), threading.Event()
    scheduler = background.BackgroundScheduler()
    scheduler.add_job(ran.set, "interval", seconds=0.05)
    binding = bind(scheduler, leader, every_s=0.01)
    assert scheduler.state == STATE_PAUSED
    assert not ran.wait(0.3)
    leader.acquire()
    assert ran.wait(5.0)
    assert scheduler.state == STATE_RUNNING
    leader.lose()
    wait_until(lambda: scheduler.state == STATE_PAUSED, 5.0, "paused again")
    leader.acquire()
    wait_until(lambda: scheduler.state == STATE_RUNNING, 5.0, "resumed")
    binding.stop()
    assert scheduler.state == STATE_PAUSED
    scheduler.shutdown()
