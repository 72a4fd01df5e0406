"""Whoever may not lead any longer stops, whether or not anybody follows: nothing else shows in a fleet that nobody leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from chaos.checkers.history import Claim, Finding
from chaos.checkers.honest import Answer

ROUNDING_S = 1e-6


class Severed(NamedTuple):
    """No renewal of an instance was confirmed from `from_s`, when the cut was complete, to `until_s`, when its healing began."""

    instance: str
    from_s: float
    until_s: float
    why: str


class Taken(NamedTuple):
    """At `at_s` an operator took the term `token` from a holder, who has to have noticed by `noticed_s`."""

    holder: str
    token: int
    noticed_s: float
    why: str


def outlived(claims: Iterable[Claim], severed: Iterable[Severed], lease_s: float, instance: Callable[[str], str]) -> list[Finding]:
    """Every claim from before the healing that reaches further than a lease that was renewed just before the cut.

    A cut that was healed sooner than that shows nothing.
    """
    found: list[Finding] = []
    claims = list(claims)
    for cut in severed:
        last_s = cut.from_s + lease_s + ROUNDING_S
        if cut.until_s < last_s:
            continue
        for claim in claims:
            if instance(claim.holder) == cut.instance and claim.start_s < cut.until_s and claim.end_s > last_s:
                text = (
                    f"{claim.holder} (token {claim.token}) claims at {claim.start_s:.4f} until {claim.end_s:.4f}; nothing was "
                    f"confirmed to it since {cut.from_s:.4f} ({cut.why}), and a lease lasts {lease_s:.3f} s"
                )
                found.append(Finding("outlived", claim.start_s, text))
    return found


def unnoticed(answers: Iterable[Answer], promises: Iterable[Claim], taken: Iterable[Taken]) -> list[Finding]:
    """Every term that was taken away and claimed on, by a yes that was asked for, or written down, when that had to be noticed."""
    given = [(answer.holder, answer.token, answer.asked_s) for answer in answers if answer.leader]
    given += [(promise.holder, promise.token, promise.start_s) for promise in promises]
    found = []
    for term in taken:
        late = [at_s for holder, token, at_s in given if (holder, token) == (term.holder, term.token) and at_s > term.noticed_s]
        if late:
            whose = f"{term.holder} (token {term.token})"
            text = f"{whose} says yes until {max(late):.4f}, and had to know by {term.noticed_s:.4f} ({term.why})"
            found.append(Finding("unnoticed", min(late), text))
    return found
