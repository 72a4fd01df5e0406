"""Answers that cannot be true, each told apart from the true one that it resembles."""

import pytest

from chaos.checkers import Answer, dishonest

YES = Answer("c1", 1.0, 1.01, True, "leader", 5, 1.3)


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ([YES._replace(state="follower")], "says yes in the state follower"),
        ([YES._replace(state="draining")], "says yes in the state draining"),
        ([YES._replace(leader=False)], "says no, and that it leads"),
        ([YES._replace(token=None)], "without a token"),
        ([YES._replace(token=0)], "without a token"),
        ([YES._replace(until_s=None)], "without a promise"),
        ([YES._replace(until_s=1.32)], "though 0.3 s were asked for"),
        ([YES, YES._replace(got_s=1.2, until_s=1.25)], "earlier than 1.3000"),
        ([YES, YES._replace(got_s=1.2, until_s=1.25, until_most_s=1.28)], "earlier than 1.3000"),
    ],
)
def test_a_lie_is_found_once(answers, complaint):
    (finding,) = dishonest(answers, 0.3)
    assert complaint in finding.text
    assert finding.at_s == answers[-1].got_s


@pytest.mark.parametrize(
    "answers",
    [
        [YES],
        [YES._replace(state="suspended")],
        [YES._replace(state="")],
        [YES._replace(until_s=1.31)],
        [YES._replace(until_s=1.005)],  # lapsed while it was on its way: whoever gets it can see that
        [YES, YES],
        [YES, YES._replace(until_s=1.299, until_most_s=1.301)],  # of a clock that is not ours
        [YES, YES._replace(token=6, until_s=1.2)],  # of another term
        [YES, YES._replace(holder="c2", until_s=1.2)],
        [Answer("c1", 1.0, 1.01, False, "follower"), Answer("c1", 1.0, 1.01, False, "unknown")],
    ],
)
def test_the_truth_is_no_finding(answers):
    assert dishonest(answers, 0.3) == []
