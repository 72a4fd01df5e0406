"""Three daemons and what can happen to the one that leads, on every store: nobody ever leads beside another."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.system.beds import ALL, Bed, lay
from tests.system.conftest import Fleet, leader_of, next_leader
from tests.system.daemons import DaemonProcess, Watcher, boot_s, wait_until


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with ExitStack() as stack:
        yield lay(request.param, stack, tmp_path_factory.mktemp(request.param), nodes=3)


@pytest.fixture
def bed(base: Bed, request: pytest.FixtureRequest) -> Bed:
    """The module's servers, with a place of its own for each test."""
    return replace(base, url=f"{base.url}-{zlib.crc32(request.node.name.encode()):x}")


pytestmark = [pytest.mark.timeout(180), pytest.mark.parametrize("base", ALL, indirect=True)]
SLACK_S = 4.0
"""Two cores shared with three daemons, a watcher and a cluster: a bound that shows a stuck fleet, not a slow machine."""


def test_one_leads_and_the_others_know_who(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader = leader_of(daemons, watcher)
    for daemon in daemons:
        wait_until(
            lambda daemon=daemon: daemon.get("/is-leader/jobs?promise=0")[1].get("leader_instance") == leader.name,  # type: ignore[misc]
            10.0,
            f"{daemon.name} knows that {leader.name} leads",
        )
    assert len(watcher.tokens()) == 1
    watcher.check()


def test_sigkill_of_the_leader(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    old = leader_of(daemons, watcher)
    old.kill()
    new = next_leader(daemons, watcher, old, bed.crash_s + SLACK_S)
    assert new is not old
    old.start()
    wait_until(lambda: old.get("/is-leader/jobs?promise=0")[1].get("state") == "follower", 10.0, "the killed one follows")
    watcher.check()


def test_sigterm_of_the_leader_hands_over_when_the_promises_have_lapsed(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    old = leader_of(daemons, watcher)
    status, answer = old.get("/is-leader/jobs?promise=1s")
    assert status == 200
    old.send(signal.SIGTERM)
    wait_until(lambda: not old.leads(), 1.0, "the answer turns no at once")
    assert boot_s() < answer["valid_until_boottime_ns"] / 1e9, "before the promise has lapsed"
    next_leader(daemons, watcher, old, 1.0 + SLACK_S)
    first = min(claim.from_s for claim in watcher.claims if claim.instance != old.name)
    assert first >= answer["valid_until_boottime_ns"] / 1e9, "nobody leads before the promise has lapsed"
    assert old.wait(10.0) == 0
    watcher.check()


def test_sigstop_past_the_ttl_then_sigcont_the_first_answer_is_no(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    old = leader_of(daemons, watcher)
    old.send(signal.SIGSTOP)
    next_leader(daemons, watcher, old, bed.crash_s + SLACK_S)
    frozen = [claim for claim in watcher.claims if claim.instance == old.name]
    old.send(signal.SIGCONT)
    status, answer = old.get("/is-leader/jobs?promise=0", timeout_s=5.0)
    assert (status, answer["leader"]) == (503, False)
    wait_until(lambda: old.get("/is-leader/jobs?promise=0")[1].get("state") == "follower", 15.0, "the thawed one follows")
    assert [claim for claim in watcher.claims if claim.instance == old.name] == frozen, "not one more yes"
    watcher.check()


def test_every_candidate_killed_and_back(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader_of(daemons, watcher)
    for daemon in daemons:
        daemon.kill()
    for daemon in daemons:
        daemon.start()
    before = watcher.tokens()
    wait_until(lambda: len(watcher.tokens()) > len(before), bed.crash_s + SLACK_S + 5.0, "a new term")
    watcher.check()


def test_reload_keeps_the_term(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader = leader_of(daemons, watcher)
    leader.config_file.write_text(leader.config_file.read_text() + "\nnonsense: 1\n")
    leader.send(signal.SIGHUP)
    assert "nonsense" in str(leader.says("reload refused"))
    text = leader.config_file.read_text().replace("\nnonsense: 1\n", "").replace("{format: json}", "{format: json, level: debug}")
    leader.config_file.write_text(text.replace("name: jobs", "name: jobs\n  - name: other"))
    leader.send(signal.SIGHUP)
    line = leader.says("reloaded")
    assert any("elections" in key for key in line["needs_restart"])
    assert leader.leads()
    assert len(watcher.tokens()) == 1
    watcher.check()


def _cluster(bed: Bed) -> Any:
    if bed.cluster is None:
        pytest.skip("the local store has no servers")
    return bed.cluster


def test_the_stores_own_leader_killed(bed: Bed, fleet: Fleet) -> None:
    cluster = _cluster(bed)
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader_of(daemons, watcher)
    index = cluster.leader_index()
    cluster.kill(index)
    wait_until(lambda: cluster.leader_index() not in {None, index}, 20.0, "the store has a new leader")
    wait_until(watcher.leader, bed.crash_s + 15.0, "somebody leads again, or still")
    cluster.restart(index)
    cluster.wait_ready(30.0)
    watcher.check()


def test_the_whole_store_down_and_up_again(bed: Bed, fleet: Fleet) -> None:
    cluster = _cluster(bed)
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader_of(daemons, watcher)
    for i in range(3):
        cluster.kill(i)
    wait_until(lambda: not any(daemon.leads() for daemon in daemons), bed.crash_s + SLACK_S, "every answer turns no")
    assert all(daemon.running() for daemon in daemons)
    assert all(daemon.get("/readyz")[0] == 200 for daemon in daemons), "a store that is away takes no pod out of service"
    for i in range(3):
        cluster.restart(i, wait=False)
    cluster.wait_ready(30.0)
    wait_until(watcher.leader, bed.crash_s + 15.0, "somebody leads again")
    watcher.check()


def _check_starts_without_store(daemon: DaemonProcess, watcher: Watcher) -> None:
    assert daemon.running()
    status, answer = daemon.get("/is-leader/jobs")
    assert (status, answer["state"], answer["reason"]) == (503, "starting", "store_unreachable")


def test_a_store_that_is_away_at_the_start_is_no_crash(bed: Bed, fleet: Fleet) -> None:
    cluster = _cluster(bed)
    for i in range(3):
        cluster.kill(i)
    daemons, watcher = fleet(bed.url, count=1, ttl=bed.ttl)
    daemons[0].says("store: ")
    wait_until(lambda: daemons[0].get("/is-leader/jobs")[1].get("reason") == "store_unreachable", 10.0, "the reason is told")
    _check_starts_without_store(daemons[0], watcher)
    for i in range(3):
        cluster.restart(i, wait=False)
    cluster.wait_ready(30.0)
    wait_until(watcher.leader, bed.crash_s + 15.0, "it leads once the store is there")
    watcher.check()
