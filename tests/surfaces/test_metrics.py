"""Metrics: the names of the contract, all there from the start, states as of the scrape, labels from closed lists."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from leaderd.board import Board
from leaderd.election.problems import Reason
from leaderd.election.state import State
from leaderd.metrics import Metrics
from testbed import fetch, require
from tests.surfaces.rig import WALL_S, HandClock, Rig, following, leading, snapshot, surfaces

CONTRACT = {
    "leader_election_master_status": ("gauge", {"name"}),
    "leaderd_is_leader": ("gauge", {"election"}),
    "leaderd_state": ("gauge", {"election", "state"}),
    "leaderd_fencing_token": ("gauge", {"election"}),
    "leaderd_valid_until_timestamp_seconds": ("gauge", {"election"}),
    "leaderd_term_start_timestamp_seconds": ("gauge", {"election"}),
    "leaderd_terms_total": ("counter", {"election"}),
    "leaderd_step_downs_total": ("counter", {"reason"}),
    "leaderd_contending": ("gauge", {"election"}),
    "leaderd_candidates": ("gauge", {"election"}),
    "leaderd_paused": ("gauge", {"election"}),
    "leaderd_store_connected": ("gauge", set()),
    "leaderd_store_last_seen_timestamp_seconds": ("gauge", set()),
    "leaderd_renew_duration_seconds": ("histogram", set()),
    "leaderd_renew_margin_seconds": ("gauge", set()),
    "leaderd_session_ttl_seconds": ("gauge", set()),
    "leaderd_loop_stall_seconds": ("gauge", set()),
    "leaderd_clock_jumps_total": ("counter", set()),
    "leaderd_api_requests_total": ("counter", {"route", "code", "listener"}),
    "leaderd_build_info": ("gauge", {"version", "python"}),
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(rig: Rig) -> Samples:
    reply = await rig.ask("/metrics", "ops")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(reply.body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    return samples[metric, frozenset(labels.items())]


async def test_every_name_of_the_contract_is_there_from_the_start(tmp_path: Path) -> None:
    start = snapshot(
        following(resting=State.STARTING, reason=Reason.STARTING, leader=None, led=False, contenders=()),
        connected=False,
        last_confirmed_s=None,
        session_ttl_s=None,
    )
    async with surfaces(tmp_path, start) as rig:
        families = {}
        for family in text_string_to_metric_families((await rig.ask("/metrics")).body.decode()):
            families[family.name + ("_total" if family.type == "counter" else "")] = family
        for name, (kind, labels) in CONTRACT.items():
            family = families[name]
            assert family.type == kind, name
            assert family.documentation
            assert family.samples, name
            assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels, name
            if name not in {"leaderd_build_info", "leaderd_state", "leaderd_contending", "leaderd_candidates"}:
                assert all(sample.value == 0.0 for sample in family.samples), name
        assert {name for name in families if name.startswith("leader")} == set(CONTRACT)
        assert "process_resident_memory_bytes" in families


async def test_state_is_of_the_instant_of_the_scrape(leader: Rig) -> None:
    found = await scrape(leader)
    assert value(found, "leader_election_master_status", name="daily-report") == 1.0
    assert value(found, "leaderd_is_leader", election="daily-report") == 1.0
    assert value(found, "leaderd_state", election="daily-report", state="leader") == 1.0
    assert value(found, "leaderd_fencing_token", election="daily-report") == 42.0
    assert value(found, "leaderd_valid_until_timestamp_seconds", election="daily-report") == pytest.approx(WALL_S + 7.312, abs=1e-3)
    assert value(found, "leaderd_term_start_timestamp_seconds", election="daily-report") == WALL_S - 5.0
    assert value(found, "leaderd_terms_total", election="daily-report") == 1.0
    assert value(found, "leaderd_candidates", election="daily-report") == 2.0
    assert value(found, "leaderd_store_connected") == 1.0
    assert value(found, "leaderd_store_last_seen_timestamp_seconds") == pytest.approx(WALL_S - 0.412, abs=1e-3)
    # Nothing is published; only time passes.
    leader.clock.boot_s = 107.312
    found = await scrape(leader)
    assert value(found, "leader_election_master_status", name="daily-report") == 0.0
    assert value(found, "leaderd_is_leader", election="daily-report") == 0.0
    assert value(found, "leaderd_state", election="daily-report", state="leader") == 0.0
    assert value(found, "leaderd_fencing_token", election="daily-report") == 0.0
    assert value(found, "leaderd_valid_until_timestamp_seconds", election="daily-report") == 0.0


async def test_a_clock_jump_is_counted_and_no_term_shown(leader: Rig) -> None:
    leader.clock.jumps = 1
    found = await scrape(leader)
    assert value(found, "leaderd_clock_jumps_total") == 1.0
    assert value(found, "leaderd_is_leader", election="daily-report") == 0.0
    assert value(found, "leaderd_state", election="daily-report", state="unknown") == 1.0


async def test_the_ttl_is_what_the_store_granted(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(following(), session_ttl_s=6.5)) as rig:
        assert value(await scrape(rig), "leaderd_session_ttl_seconds") == 6.5
        rig.board.publish(snapshot(following(index=18), session_ttl_s=None, session_live=False))
        assert value(await scrape(rig), "leaderd_session_ttl_seconds") == 0.0


async def test_exactly_one_state_is_1(two: Rig) -> None:
    for boot_s in (100.0, 200.0):
        two.clock.boot_s = boot_s
        found = await scrape(two)
        for name in ("daily-report", "invoices"):
            assert sum(value(found, "leaderd_state", election=name, state=state.value) for state in State) == 1.0


async def test_paused_and_cordoned(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(following(resting=State.PAUSED, standing=False))) as rig:
        found = await scrape(rig)
        assert value(found, "leaderd_paused", election="daily-report") == 1.0
        assert value(found, "leaderd_contending", election="daily-report") == 0.0


async def test_events_are_counted(leader: Rig) -> None:
    led, lost = snapshot(leading()), snapshot(following(reason=Reason.SESSION_GONE, leader=None))
    again = snapshot(replace(leading(), term=replace(leading().term, token=50)))  # type: ignore[type-var]
    leader.metrics.published(lost, led, 100.0)
    leader.metrics.published(led, led, 100.0)
    leader.metrics.published(led, lost, 100.0)
    leader.metrics.published(led, again, 100.0)
    leader.metrics.renewed(0.003, 5.5)
    leader.metrics.renewed(0.001, 5.25)
    leader.metrics.renewed(60.0, None)
    found = await scrape(leader)
    assert value(found, "leaderd_step_downs_total", reason="session_gone") == 1.0
    assert value(found, "leaderd_step_downs_total", reason="lease_held") == 1.0
    assert value(found, "leaderd_renew_duration_seconds_bucket", le="0.001") == 1.0
    assert value(found, "leaderd_renew_duration_seconds_bucket", le="0.005") == 2.0
    assert value(found, "leaderd_renew_duration_seconds_bucket", le="10.0") == 2.0
    assert value(found, "leaderd_renew_duration_seconds_bucket", le="+Inf") == 3.0
    assert value(found, "leaderd_renew_duration_seconds_count") == 3.0
    assert value(found, "leaderd_renew_duration_seconds_sum") == pytest.approx(60.004)
    assert value(found, "leaderd_renew_margin_seconds") == 5.25


async def test_requests_are_counted_by_closed_labels(two: Rig) -> None:
    for target in ("/is-leader/daily-report", "/is-leader/invoices", "/is-leader/nope", "/is-leader/nope2"):
        await two.ask(target, "socket")
    for code in range(200, 600):
        await two.ask(f"/is-leader/invoices?follower_code={code}", "ops")
    for number in range(50):
        await two.ask(f"/made-up-{number}")
    found = await scrape(two)
    assert value(found, "leaderd_api_requests_total", route="/is-leader", code="200", listener="socket") == 1.0
    assert value(found, "leaderd_api_requests_total", route="/is-leader", code="503", listener="socket") == 1.0
    assert value(found, "leaderd_api_requests_total", route="/is-leader", code="404", listener="socket") == 2.0
    assert value(found, "leaderd_api_requests_total", route="none", code="404", listener="app") == 50.0
    assert value(found, "leaderd_api_requests_total", route="/is-leader", code="other", listener="ops") > 300
    assert sum(1 for name, _ in found if name == "leaderd_api_requests_total") < 80


async def test_names_follow_the_convention(leader: Rig) -> None:
    """What `promtool check metrics` looks at, for machines without it."""
    text = (await leader.ask("/metrics")).body.decode()
    assert text.endswith("\n")
    helps = re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert {name for name, _ in helps} == set(kinds)
    for name, kind in kinds.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(gauge|counter|histogram|created|milliseconds|ms|minutes)(_|$)", name), name
    assert "_created" not in text


async def test_promtool_is_content(leader: Rig) -> None:
    require("prometheus")
    text = (await leader.ask("/metrics")).body
    done = subprocess.run(
        [fetch.installed("prometheus").programs["promtool"], "check", "metrics"],
        input=text,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_scrape_counts_what_has_yet_to_be_told() -> None:
    """Who lets go is told of a moment later (`leaderd/observing.py`)."""
    led, over = snapshot(leading()), snapshot(following())
    metrics = Metrics(Board(over, {}, promise_s=1.0), HandClock(), catch_up=lambda: metrics.published(led, over, 1.0))
    reason = next(iter(over.elections.values())).reason.value
    assert f'leaderd_step_downs_total{{reason="{reason}"}} 1.0' in metrics.render().decode()
