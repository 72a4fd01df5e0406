"""The deadline arithmetic, as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderd.election.backoff import Backoff
from leaderd.election.timing import RULES, Timing

TTLS = st.floats(0.2, 600.0)
DRIFTS = st.floats(0.0, 0.2)


@given(kind=st.sampled_from(sorted(RULES)), ttl_s=TTLS, drift=DRIFTS, margin_s=st.floats(0.0, 5.0))
def test_validity_ends_before_the_store_can_free_the_session(kind: str, ttl_s: float, drift: float, margin_s: float) -> None:
    rule = RULES[kind]
    timing = Timing(ttl_s=ttl_s, drift=drift, margin_s=margin_s)
    valid_s = timing.valid_for_s(rule, ttl_s)
    # The store counts `keeps_s` of its own seconds, each lasting at least (1 - drift) of ours.
    assert valid_s <= rule.keeps_s(ttl_s) * (1 - drift) - margin_s + 1e-9
    assert rule.keeps_s(ttl_s) <= ttl_s


@pytest.mark.parametrize(
    ("kind", "ttl_s", "keeps_s"),
    [
        ("local", 10.0, 10.0),
        ("zookeeper", 6.0, 4.0),
        ("etcd", 5.0, 4.0),
        ("etcd", 10.0, 8.0),
        ("consul", 10.0, 7.5),
        ("consul", 30.0, 24.0),
    ],
)
def test_what_each_store_keeps(kind: str, ttl_s: float, keeps_s: float) -> None:
    assert RULES[kind].keeps_s(ttl_s) == pytest.approx(keeps_s)


def test_three_renewals_fit_whatever_the_store_granted() -> None:
    timing = Timing(ttl_s=10.0, renew_every_s=2.0)
    assert timing.renewal_period_s(RULES["local"], 10.0) == 2.0
    short_s = timing.renewal_period_s(RULES["zookeeper"], 4.0)
    assert short_s * 3 <= timing.valid_for_s(RULES["zookeeper"], 4.0) + 1e-9
    assert timing.renewal_period_s(RULES["etcd"], 0.1) == 0.05


@given(seed=st.integers(0, 2**70))
def test_back_off_stays_within_its_cap_for_ever(seed: int) -> None:
    backoff = Backoff(seed, base_s=0.1, cap_s=2.0)
    delays = [backoff.next_s() for _ in range(100)]
    assert all(0.05 <= delay_s <= 2.0 for delay_s in delays)
    assert all(delay_s >= 1.0 for delay_s in delays[6:])
    backoff.attempts = 10**9
    assert backoff.next_s() <= 2.0
    backoff.reset()
    assert backoff.next_s() <= 0.1
