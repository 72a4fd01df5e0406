"""Fencing tokens only rise: by order of first claims, each term's token is above every earlier one's, and is one holder's alone.

A term that is over stays over, however many have led since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chaos.checkers.history import Claim, Finding

Restores = Mapping[str, Sequence[tuple[float, int]]]

IN_FLIGHT_S = 2.0
"""For so long after a restore a claim may begin whose proof the store gave, and forgot, before it."""


def token_faults(claims: Iterable[Claim], restores: Restores | None = None) -> list[Finding]:
    """Every term that began with a token not above all earlier ones of its election, or with another holder's token.

    `restores`: by election, the instants at which an operator took the store back to an old snapshot, with the high-water mark
    that is left to compare with from then on (what the snapshot holds, and what the claimants remember).
    """
    first: dict[tuple[str, str, int], Claim] = {}
    for claim in claims:
        known = first.get(claim[:3])
        if known is None or claim.start_s < known.start_s:
            first[claim[:3]] = claim
    found: list[Finding] = []
    highest: dict[str, Claim] = {}
    for claim in sorted(first.values(), key=lambda c: (c.start_s, c.token)):
        top = highest.get(claim.election)
        forgiven = top is not None and any(
            top.start_s < at_s + IN_FLIGHT_S and at_s <= claim.start_s and claim.token > mark
            for at_s, mark in (restores or {}).get(claim.election, ())
        )
        if top is not None and claim.token <= top.token and not forgiven:
            text = (
                f"{claim.election}: {claim.holder} leads from {claim.start_s:.4f} with token {claim.token}, not above "
                f"{top.token}, with which {top.holder} led from {top.start_s:.4f}"
            )
            found.append(Finding("token", claim.start_s, text))
        if top is None or claim.token > top.token or forgiven:
            highest[claim.election] = claim
    return found


def dead_terms(claims: Iterable[Claim]) -> list[Finding]:
    """Every term that is claimed again after one with a higher token had begun: it was over by then, and stays over."""
    found: list[Finding] = []
    highest: dict[str, Claim] = {}
    told: set[tuple[str, int, int]] = set()
    for claim in sorted(claims, key=lambda each: (each.start_s, each.token)):
        top = highest.get(claim.election)
        if top is None or claim.token > top.token:
            highest[claim.election] = claim
        elif claim.token < top.token and (claim.holder, claim.token, top.token) not in told:
            told.add((claim.holder, claim.token, top.token))
            text = (
                f"{claim.election}: {claim.holder} claims at {claim.start_s:.4f} with token {claim.token}, although {top.holder} "
                f"led from {top.start_s:.4f} with {top.token}"
            )
            found.append(Finding("token", claim.start_s, text))
    return found
