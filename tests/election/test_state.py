"""The transitions are data, and the diagram in the package's docstring is drawn from them."""

from __future__ import annotations

import leaderd.election
from leaderd.election.state import TRANSITIONS, Phase


def draw() -> str:
    order = list(Phase)
    lines = [
        f"    {phase.value:<12} ─► {', '.join(target.value for target in order if target in TRANSITIONS[phase])}" for phase in order
    ]
    return "\n".join(lines)


def test_the_diagram_in_the_docs_is_the_table_in_the_code() -> None:
    assert leaderd.election.__doc__ is not None
    assert draw() in leaderd.election.__doc__, "write this into leaderd/election/__init__.py:\n" + draw()


def test_every_phase_can_be_left_and_reached() -> None:
    assert set(TRANSITIONS) == set(Phase)
    reached = {Phase.OUT}.union(*TRANSITIONS.values())
    assert reached == set(Phase)


def test_out_is_reached_from_everywhere_because_a_session_can_end_at_any_instant() -> None:
    assert all(Phase.OUT in targets for phase, targets in TRANSITIONS.items() if phase is not Phase.OUT)


def test_a_term_begins_only_by_proof() -> None:
    assert [phase for phase, targets in TRANSITIONS.items() if Phase.LEADING in targets] == [Phase.CLAIMING]
