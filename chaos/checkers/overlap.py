"""No two leaders: claims of different holders, or of one holder with different tokens, never share an instant."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.checkers.history import Claim, Finding


def overlaps(claims: Iterable[Claim]) -> list[Finding]:
    """Every pair of claims to one election that overlap, by sweeping over their starts."""
    found: list[Finding] = []
    live: dict[str, list[Claim]] = {}
    for claim in sorted(claims, key=lambda c: (c.start_s, c.end_s)):
        others = [other for other in live.get(claim.election, ()) if other.end_s > claim.start_s]
        found += [_finding(other, claim) for other in others if (other.holder, other.token) != (claim.holder, claim.token)]
        live[claim.election] = [*others, claim]
    return found


def _finding(first: Claim, second: Claim) -> Finding:
    shared_s = min(first.end_s, second.end_s) - second.start_s
    text = (
        f"{second.election}: {second.holder} (token {second.token}) claims from {second.start_s:.4f}, while {first.holder} "
        f"(token {first.token}) claims from {first.start_s:.4f} to {first.end_s:.4f}: {shared_s:.4f} s together"
    )
    return Finding("overlap", second.start_s, text)
