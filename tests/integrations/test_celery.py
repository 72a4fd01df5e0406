"""With the real Celery: its scheduler, its in-memory broker, and what arrives there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from leaderd.testing import FakeLeader

celery = pytest.importorskip("celery")


@pytest.fixture
def beat(tmp_path):
    from leaderd.integrations import celery as ours

    def make(leader, scheduler=None, **conf):
        app = celery.Celery("test", broker="memory://", set_as_current=False)
        app.conf.beat_schedule = {"report": {"task": "jobs.report", "schedule": timedelta(hours=1)}}
        app.conf.update(leaderd_leader=leader, **conf)
        made = (scheduler or ours.LeaderScheduler)(app, schedule_filename=str(tmp_path / "beat"), lazy=False)
        made.sent = []
        made.send_task = lambda *args, **kwargs: made.sent.append(args[0])
        opened.append(made)
        return made

    opened = []
    yield make
    for scheduler in opened:
        scheduler.close()


def fall_due(scheduler):
    """An hour passes for the one job."""
    entry = scheduler.schedule["report"]
    entry.last_run_at = entry.default_now() - timedelta(hours=1, seconds=1)
    scheduler._heap = None
    for _ in range(3):
        waits_s = scheduler.tick()
    return waits_s


def test_sends_only_while_leading(beat):
    leader = FakeLeader("beat")
    scheduler = beat(leader)
    assert fall_due(scheduler) <= 1.0
    assert scheduler.sent == []
    leader.acquire()
    scheduler.tick()
    assert scheduler.sent == []  # it went on in step: the next is in an hour
    fall_due(scheduler)
    assert scheduler.sent == ["jobs.report"]
    leader.lose()
    fall_due(scheduler)
    assert scheduler.sent == ["jobs.report"]


def test_a_slot_in_the_change_of_leaders_is_sent_late_if_wanted(beat):
    leader = FakeLeader("beat")
    scheduler = beat(leader, leaderd_catch_up_s=60)
    fall_due(scheduler)
    assert scheduler.sent == []
    leader.acquire()
    scheduler.tick()
    scheduler.tick()
    assert scheduler.sent == ["jobs.report"]


def test_a_shared_schedule_is_left_alone_by_followers(beat):
    from celery.beat import PersistentScheduler

    from leaderd.integrations.celery import LeaderMixin

    class Shared(LeaderMixin, PersistentScheduler):
        runs_along = False

    leader = FakeLeader("beat")
    scheduler = beat(leader, Shared)
    before = scheduler.schedule["report"].total_run_count
    assert fall_due(scheduler) == 1.0
    assert scheduler.schedule["report"].total_run_count == before
    leader.acquire()
    scheduler.tick()
    assert scheduler.sent == ["jobs.report"]


def test_without_a_daemon_nothing_is_sent(beat, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADERD_SOCKET", str(tmp_path / "none.sock"))
    scheduler = beat(None, leaderd_election="beat")
    fall_due(scheduler)
    assert scheduler.sent == []


def test_beat_finds_it_by_the_name_in_the_docs():
    from celery.utils.imports import symbol_by_name

    from leaderd.integrations.celery import LeaderScheduler

    assert symbol_by_name("leaderd.integrations.celery:LeaderScheduler") is LeaderScheduler
