"""Who has to stop, judged where nobody follows: cut off from the store, or robbed of the term by an operator."""

import pytest

from chaos.judge import FAIL, PASS
from chaos.scenario import Expect
from tests.chaos.test_judge import S, judged, run_line, step, yes
from tests.chaos.test_promises import promise

LEASE_S = 1.5


def cut(at_s, severs=("c1",), **more):
    facts = {"name": "cut", "text": "c1 cut from s1 s2 s3", "targets": ["c1"], "led": "c1", "severs": list(severs)}
    return {"kind": "fault", "at_ns": int(at_s * S), **facts, **more}


def heal(from_s, at_s, name="cut"):
    return {"kind": "heal", "at_ns": int(at_s * S), "from_ns": int(from_s * S), "name": name, "text": "x"}


def alone(until_s, fault, *healing):
    """c1 says yes ten times a second until then; nobody else ever does."""
    said = [yes("c1", 5, 0.1 + n / 10, 0.4 + n / 10) for n in range(round(until_s * 10))]
    return [run_line(lease_s=LEASE_S), *said, fault, *healing, step("everything is healed", 50.0), {"kind": "end", "at_ns": 60 * S}]


@pytest.mark.parametrize(
    ("until_s", "fault", "healing", "verdict"),
    [
        (32.0, cut(2.0), (), FAIL),  # for 30 s, and nobody follows
        (3.5, cut(2.0), (), FAIL),  # its last promise reaches beyond the lease
        (3.2, cut(2.0), (), PASS),
        (32.0, cut(2.0), (heal(3.0, 3.1),), PASS),  # healed before the lease could end
        (32.0, cut(2.0), (heal(4.0, 4.1),), FAIL),  # led on through a longer one
        (3.2, cut(2.0), (heal(4.0, 4.1),), PASS),
    ],
)
def test_a_leader_that_is_cut_off_stops_by_its_lease(tmp_path, until_s, fault, healing, verdict):
    checks, _ = judged(tmp_path, alone(until_s, fault, *healing))
    assert checks["cut-off-stops"].verdict == verdict, checks["cut-off-stops"].text


def test_a_promise_that_nobody_polled_counts(tmp_path):
    lines = alone(3.2, cut(2.0))
    assert judged(tmp_path, [*lines[:-2], promise("c1", 5, 3.0, 3.6), *lines[-2:]])[0]["cut-off-stops"].verdict == FAIL


def test_who_comes_back_may_lead_again_before_the_healing_is_written_down(tmp_path):
    lines = alone(3.2, cut(2.0), heal(6.0, 6.5))
    assert judged(tmp_path, [*lines[:-2], yes("c1", 9, 6.2, 6.5), *lines[-2:]])[0]["cut-off-stops"].verdict == PASS


def test_others_go_on(tmp_path):
    checks, _ = judged(tmp_path, alone(32.0, cut(2.0, severs=("c2", "c3"))))
    assert checks["cut-off-stops"].verdict == PASS
    assert "cut-off-stops" not in judged(tmp_path, alone(32.0, cut(2.0, severs=())))[0], "nobody was"


def test_a_slow_clock_sees_its_lease_end_late(tmp_path):
    assert judged(tmp_path, alone(4.0, cut(2.0)), Expect(clock_rate=0.5))[0]["cut-off-stops"].verdict == PASS
    assert judged(tmp_path, alone(5.2, cut(2.0)), Expect(clock_rate=0.5))[0]["cut-off-stops"].verdict == FAIL


def taken(at_s, from_s=None):
    facts = {"name": "revoke", "text": "c1: revoked by hand", "targets": ["c1"], "led": "c1", "breaks_promises": True}
    return {"kind": "fault", "at_ns": int(at_s * S), "from_ns": int((at_s if from_s is None else from_s) * S), **facts}


@pytest.mark.parametrize(("until_s", "verdict"), [(2.5, PASS), (2.9, PASS), (3.3, FAIL), (5.9, FAIL)])
def test_what_is_taken_by_hand_is_noticed_within_a_second_though_nobody_follows(tmp_path, until_s, verdict):
    checks, _ = judged(tmp_path, alone(until_s, taken(2.0)))
    assert checks["noticed"].verdict == verdict, checks["noticed"].text


def test_what_nobody_polled_has_to_be_noticed_too(tmp_path):
    lines = alone(2.5, taken(2.0))
    assert judged(tmp_path, [*lines[:-2], promise("c1", 5, 3.5, 3.8), *lines[-2:]])[0]["noticed"].verdict == FAIL


def test_a_term_won_back_is_another_one(tmp_path):
    """It may be there before the operator's tool has returned."""
    lines = alone(1.8, taken(2.0, from_s=1.8))
    again = [yes("c1", 9, 1.95 + n / 10, 2.2 + n / 10) for n in range(30)]
    assert judged(tmp_path, [*lines[:-2], *again, *lines[-2:]])[0]["noticed"].verdict == PASS


def test_nothing_to_notice_is_no_check(tmp_path):
    assert "noticed" not in judged(tmp_path, alone(3.2, cut(2.0)))[0]
