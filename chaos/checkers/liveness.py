"""The fleet never gets stuck: where somebody could lead, somebody does, within a bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.checkers.history import Claim, Finding, Window


def leaderless(claims: Iterable[Claim], elections: Sequence[str], windows: Iterable[Window], bound_s: float) -> list[Finding]:
    """Every stretch longer than `bound_s` without a claim, inside a window in which a healthy candidate and store were there."""
    claims = list(claims)
    windows = [window for window in windows if window.end_s - window.start_s > bound_s]
    found: list[Finding] = []
    for election in elections:
        led = sorted((c.start_s, c.end_s) for c in claims if c.election == election)
        gaps = [gap for window in windows for gap in _gaps(led, window) if gap.end_s - gap.start_s > bound_s]
        for gap in sorted(set(gaps)):
            text = f"{election}: nobody leads from {gap.start_s:.3f} to {gap.end_s:.3f}, more than {bound_s:.3f} s"
            found.append(Finding("leaderless", gap.start_s + bound_s, text))
    return found


def _gaps(led: list[tuple[float, float]], window: Window) -> list[Window]:
    gaps: list[Window] = []
    free_since_s = window.start_s
    for start_s, end_s in led:
        if start_s >= window.end_s:
            break
        if start_s > free_since_s:
            gaps.append(Window(free_since_s, start_s))
        free_since_s = max(free_since_s, end_s)
    if free_since_s < window.end_s:
        gaps.append(Window(free_since_s, window.end_s))
    return gaps
