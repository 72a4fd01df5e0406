"""The arithmetic of `leaderd plan`, against the numbers that the README's table and the timing rules give."""

import pytest

from leaderd.election.timing import RULES, Timing
from leaderd.planning import STORES, Live, make_plan


def facts(kind, timing=None, live=None, instances=3):
    plan = make_plan(kind, timing or Timing(), instances, live)
    return {fact.name: fact.value for fact in plan.facts}, plan.unsafe


@pytest.mark.parametrize(
    ("kind", "detection_s", "failover_s"),
    [("local", 9.4, 10.1), ("zookeeper", 6.1, 12.0), ("etcd", 7.42, 10.5), ("consul", 6.925, 30.0)],
)
def test_the_times_of_the_defaults(kind, detection_s, failover_s):
    found, unsafe = facts(kind)
    assert found["detection_s"] == pytest.approx(detection_s, abs=0.01)
    assert found["failover_s"] == pytest.approx(failover_s)
    assert found["handover_s"] == pytest.approx(1.1)
    assert unsafe == ()


@pytest.mark.parametrize("kind", list(STORES))
def test_the_margin_is_what_the_rule_keeps_back(kind):
    timing = Timing(ttl_s=30.0, renew_every_s=6.0, margin_s=0.7, drift=0.02)
    found, _ = facts(kind, timing)
    kept_s = RULES[kind].keeps_s(30.0)
    assert found["margin_s"] == pytest.approx(0.02 * kept_s + 0.7)
    assert found["leaderless_s"] > found["margin_s"]
    assert found["drift_percent"] >= 2.0


def test_the_load_counts_the_instances():
    assert facts("etcd", instances=1)[0]["requests_per_s"] == pytest.approx(1.5)
    assert facts("etcd", instances=41)[0]["requests_per_s"] == pytest.approx(41.5)


def test_what_the_store_granted_counts_not_what_was_asked_for():
    found, unsafe = facts("zookeeper", Timing(ttl_s=60.0, renew_every_s=12.0), Live(40.0, (0.01,)))
    assert found["ttl_s"] == 40.0
    assert found["failover_s"] == 42.0
    assert unsafe == ()


def test_a_tick_that_was_told_counts_and_one_that_was_not_is_called_assumed():
    told = make_plan("zookeeper", Timing(), 3, Live(10.0, (0.01,), tick_s=0.5))
    failover = next(fact for fact in told.facts if fact.name == "failover_s")
    assert (failover.value, "next tick, of 0.5 s" in failover.meaning) == (10.5, True)
    for live in (None, Live(10.0, (0.01,))):
        assumed = next(fact for fact in make_plan("zookeeper", Timing(), 3, live).facts if fact.name == "failover_s")
        assert (assumed.value, "assumed" in assumed.meaning) == (12.0, True)


def test_a_grant_too_short_to_lead_with_is_unsafe():
    _, unsafe = facts("etcd", Timing(ttl_s=10.0, renew_every_s=2.0), Live(1.2, (0.01,)))
    assert any("granted a ttl of 1.2 s where 10 s" in problem for problem in unsafe)


def test_a_promise_longer_than_a_renewal_is_valid_is_unsafe():
    _, unsafe = facts("etcd", Timing(promise_s=7.0), Live(8.0, (0.01,)))
    assert any("timing.promise of 7 s" in problem for problem in unsafe)


def test_a_store_too_far_away_is_unsafe():
    found, unsafe = facts("consul", Timing(), Live(10.0, (0.1, 3.5, 0.2)))
    assert found["round_trip_s"] == 0.2
    assert [problem for problem in unsafe if "3.50 s" in problem]
    assert facts("consul", Timing(), Live(10.0, (0.1, 0.5, 0.2)))[1] == ()
