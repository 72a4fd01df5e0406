"""The daemons' journals against the answers: what neither may hide, and that a journal is written before an answer is given."""

import json
import os

import pytest

from chaos import judge
from chaos.checkers import Answer, Claim, unkept
from chaos.scenario import Expect
from chaos.workload import journaled, life
from leaderd.board import Board
from tests.chaos.test_judge import GOOD, S, judged, run_line

YES = Answer("c1", 1.0, 1.01, True, "leader", 5, 1.3)
KEPT = Claim("jobs", "c1", 5, 1.005, 1.3)


@pytest.mark.parametrize(
    ("promises", "complaint"),
    [
        ([], "nothing of that term"),
        ([KEPT._replace(holder="c2")], "nothing of that term"),
        ([KEPT._replace(token=4)], "nothing of that term"),
        ([KEPT._replace(start_s=1.02)], "nothing of that term"),  # written down only after the answer
        ([KEPT._replace(end_s=1.2)], "nothing beyond 1.2000"),
    ],
)
def test_a_yes_outside_the_journal_is_found(promises, complaint):
    (finding,) = unkept([YES], promises)
    assert complaint in finding.text


def test_a_yes_within_the_journal_is_none():
    earlier = KEPT._replace(start_s=0.5, end_s=0.8)
    no = Answer("c2", 1.0, 1.0, False, "follower")
    assert unkept([YES, no], [KEPT, earlier]) == []
    assert unkept([YES], [KEPT._replace(start_s=0.9, end_s=2.0), KEPT]) == [], "a longer promise to somebody else covers it"


def promise(instance, token, at_s, until_s, election="jobs"):
    facts = {"instance": instance, "election": election, "token": token, "until_ns": int(until_s * S)}
    return {"kind": "promise", "at_ns": int(at_s * S), **facts}


COVERED = [promise("c1", 5, 1.0, 1.3), promise("c2", 9, 5.0, 5.3), promise("c2", 9, 6.1, 6.4)]


@pytest.mark.parametrize(
    ("journal", "verdict"),
    [
        (COVERED, "PASS"),
        ([*COVERED, promise("c1", 5, 1.1, 4.9)], "PASS"),
        ([*COVERED, promise("c1", 5, 1.1, 5.1)], "FAIL"),  # to somebody whom we did not poll, into the next term
        ([*COVERED, promise("c1", 5, 1.1, 5.1, "others")], "PASS"),
        (COVERED[1:], "FAIL"),  # said yes, and wrote nothing down
        ([], "UNKNOWN"),
    ],
)
def test_promises_kept(tmp_path, journal, verdict):
    checks, _ = judged(tmp_path, [run_line(journals=True), *GOOD[1:-1], *journal, GOOD[-1]])
    assert checks["promises-kept"].verdict == verdict, checks["promises-kept"].text


def test_a_promise_under_way_where_a_clock_changes_its_rate_ends_at_another_instant(tmp_path):
    """The journal tells what was reckoned when it was given, the answer was dated a moment later; elsewhere they agree."""
    short = [promise("c1", 5, 1.0, 1.297), *COVERED[1:]]

    def verdict(changed_s, rate):
        changed = {"kind": "heal", "at_ns": int(changed_s * S), "name": "clock", "text": "x"}
        lines = [run_line(journals=True, promise_s=0.3), *GOOD[1:-1], *short, changed, GOOD[-1]]
        return judged(tmp_path, lines, Expect(clock_rate=rate))[0]["promises-kept"].verdict

    assert verdict(1.1, 0.99) == "PASS"
    assert verdict(3.0, 0.99) == "FAIL"
    assert verdict(1.1, 1.0) == "FAIL", "no clock has another rate in this scenario"


def test_a_history_without_journals_is_judged_without_them(tmp_path):
    assert "promises-kept" not in judged(tmp_path, GOOD)[0]


def test_the_smallest_gap_counts_what_nobody_polled(tmp_path):
    journal = [*COVERED, promise("c1", 5, 1.1, 4.9)]
    checks, _ = judged(tmp_path, [run_line(journals=True), *GOOD[1:-1], *journal, GOOD[-1]])
    assert "smallest gap between an old promise and a new claim 100.0 ms" in checks["no-overlap"].text
    assert judge.figures(judge.read(tmp_path))["smallest_gap_ms"] == 100.0


def test_a_promise_is_written_down_before_it_is_given(tmp_path, monkeypatch):
    def answers(self, name, instant, enter, promise_s, min_valid_s, token):
        return given.pop(0)

    given = [FakeAnswer(True, 2.5, 7), FakeAnswer(False, None, None)]
    monkeypatch.setattr(Board, "_judge", answers)
    path = tmp_path / "promises.ndjson"
    journaled.keep(str(path))
    board = object.__new__(Board)
    for _ in range(2):
        board._judge("jobs", None, None, None, 0.0, None)
    (line,) = (json.loads(text) for text in path.read_text().splitlines())
    assert line == {"at_ns": 2 * S, "life": life.of(os.getpid()), "election": "jobs", "token": 7, "until_ns": 2_500_000_000}


class FakeAnswer:
    now_s = 2.0

    def __init__(self, leader, promised_until_s, token):
        self.leader, self.promised_until_s, self.token = leader, promised_until_s, token
