"""An answer says what it means: a yes only from who leads, with a token, for no longer than asked for, nor for less than before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chaos.checkers.history import Finding

LEADING = frozenset({"leader", "suspended"})
"""The states in which somebody may say yes: `suspended` is in doubt, but its lease still holds."""


class Answer(NamedTuple):
    """One answer of one instance: when it was asked and the answer received, and what it said. Seconds of one clock.

    `until_most_s`: the promise ends between that and `until_s`, of somebody who has another clock.
    """

    holder: str
    asked_s: float
    got_s: float
    leader: bool
    state: str
    token: int | None = None
    until_s: float | None = None
    until_most_s: float | None = None


def dishonest(answers: Iterable[Answer], promise_s: float) -> list[Finding]:
    """Every answer at odds with itself or with an earlier one. `promise_s`: for how long a promise was asked for at most."""
    found: list[Finding] = []
    told: dict[tuple[str, int], float] = {}
    for answer in answers:
        head = f"{answer.holder} at {answer.got_s:.4f}"
        found += [Finding("dishonest", answer.got_s, f"{head}: {wrong}") for wrong in _wrong(answer, promise_s, told)]
        if answer.leader and answer.token is not None and answer.until_s is not None:
            key = (answer.holder, answer.token)
            told[key] = max(answer.until_s, told.get(key, answer.until_s))
    return found


def _wrong(answer: Answer, promise_s: float, told: dict[tuple[str, int], float]) -> Iterable[str]:
    if not answer.leader:
        if answer.state == "leader":
            yield "says no, and that it leads"
        return
    if answer.state and answer.state not in LEADING:
        yield f"says yes in the state {answer.state}"
    if answer.token is None or answer.token <= 0 or answer.until_s is None:
        yield "says yes without a token, or without a promise"
        return
    if answer.until_s > answer.got_s + promise_s:
        yield f"promises {answer.until_s - answer.got_s:.4f} s, though {promise_s:g} s were asked for"
    before_s = told.get((answer.holder, answer.token))
    most_s = answer.until_s if answer.until_most_s is None else answer.until_most_s
    if before_s is not None and most_s < before_s:
        yield f"promises until {answer.until_s:.4f}, earlier than {before_s:.4f}, which it had promised in the same term"
