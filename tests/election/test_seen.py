"""What a candidate has seen of others' terms binds it, even if the store has forgotten."""

from __future__ import annotations

import pytest

from leaderd.election.backoff import Backoff
from leaderd.election.commands import Claim, RaiseMark, Withdraw
from leaderd.election.events import Contender, Elected, Queued, QueueSeen
from leaderd.election.ledger import Ledger
from leaderd.election.machine import Election
from leaderd.election.problems import Reason


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
