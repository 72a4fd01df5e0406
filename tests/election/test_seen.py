"""What a candidate has seen of others' terms binds it, even if the store has forgotten."""

from __future__ import annotations

import math

import pytest

from leaderd.election.backoff import Backoff
from leaderd.election.commands import Claim, RaiseMark, Withdraw
from leaderd.election.events import Contender, Elected, Queued, QueueSeen, Withdrawn
from leaderd.election.ledger import Ledger
from leaderd.election.machine import Election
from leaderd.election.problems import Reason
from leaderd.election.state import State


def waiting(*contenders: Contender, led: bool = True) -> Election:
    """A candidate that stands in the queue and has seen this."""
    election = Election("jobs", Ledger(), Backoff(1))
    election.stand(1, 0.0)
    election.queued(Queued(1, "jobs", 20))
    election.seen(QueueSeen(1, "jobs", contenders, led))
    return election


def test_a_token_below_a_seen_leaders_is_refused_and_the_mark_raised() -> None:
    election = waiting(Contender("pod-b", own=False, token=50))
    commands = election.elected(1, Elected(1, "jobs", 20, 7), 1.0)
    assert commands == [RaiseMark(1, "jobs", 50), Withdraw(1, "jobs", 20)]
    assert election.reason is Reason.TOKEN_NOT_ABOVE_MARK


@pytest.mark.parametrize(
    "election",
    [
        waiting(Contender("pod-b", own=False, token=19)),
        waiting(Contender("pod-b", own=False, token=50), led=False),
        waiting(Contender("pod-a", own=True, token=20), Contender("pod-b", own=False, token=50)),
        waiting(Contender("pod-b", own=False, token=None)),
        waiting(),
    ],
)
def test_others_bind_nobody(election: Election) -> None:
    assert election.elected(1, Elected(1, "jobs", 20, 7), 1.0) == [Claim(1, "jobs", 20, 7)]


def test_who_has_left_does_not_know_who_leads() -> None:
    """Most stores tell only those who stand: what was seen last would be shown for as long as it is cordoned, or paused."""
    election = waiting(Contender("pod-b", own=False, token=19), Contender("pod-a", own=True, token=20))
    assert election.view(State.FOLLOWER, None, "pod-a", 1).leader == "pod-b"
    election.resign(1, Reason.CORDONED, math.inf, 1.0)
    assert election.view(State.FOLLOWER, None, "pod-a", 1).leader == "pod-b"
    election.withdrawn(Withdrawn(1, "jobs"), 1.1)
    view = election.view(State.FOLLOWER, None, "pod-a", 1)
    assert (view.leader, view.contenders, view.led) == (None, (), False)
    # Where the store goes on telling, it is shown.
    election.seen(QueueSeen(1, "jobs", (Contender("pod-c", own=False, token=21),), True))
    assert election.view(State.FOLLOWER, None, "pod-a", 1).leader == "pod-c"
