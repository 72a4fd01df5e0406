"""What the fence is for: a resource that remembers the highest token it saw, and refuses every lower one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chaos.checkers.history import Finding


class Write(NamedTuple):
    """One write as the resource took it, in the resource's own order."""

    at_s: float
    election: str
    holder: str
    token: int
    accepted: bool


def stale_writes(writes: Iterable[Write]) -> list[Finding]:
    """Every write that was accepted after one with a higher token, or refused although none was higher."""
    found: list[Finding] = []
    highest: dict[str, int] = {}
    for write in writes:
        top = highest.get(write.election)
        if write.accepted and top is not None and write.token < top:
            found.append(Finding("stale_write", write.at_s, f"{write.election}: accepted token {write.token} after {top}: {write}"))
        if not write.accepted and (top is None or write.token >= top):
            found.append(
                Finding("stale_write", write.at_s, f"{write.election}: refused token {write.token}, highest {top}: {write}")
            )
        if write.accepted:
            highest[write.election] = write.token if top is None else max(top, write.token)
    return found
