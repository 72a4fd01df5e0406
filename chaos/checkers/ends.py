"""A daemon ends when it is told to, and as it is told to: with 0 after SIGTERM, by SIGKILL, and never of its own accord."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from chaos.checkers.history import Finding

_KILLED, _TERMINATED = -9, -15
_MEANINGS = {70: "an error of its own", 78: "a configuration that it refuses"}


class End(NamedTuple):
    """One process of `instance` ended, or was found ended. `code` as Python has it: negative is the signal that ended it.

    `asked`: what it had been sent by then, `SIGTERM` or `SIGKILL`; nothing, if nobody wanted it to end.
    """

    instance: str
    life: str
    at_s: float
    code: int
    asked: tuple[str, ...]


def crashes(ends: Iterable[End], spoke: Collection[str]) -> list[Finding]:
    """Every end that nobody had asked for, or that came otherwise than it was asked for.

    `spoke`: the lives (`c1#4711`) that ever gave an answer. One that did not may have met SIGTERM before it had a handler for it.
    """
    found = []
    for end in ends:
        why = _wrong(end, f"{end.instance}#{end.life}" in spoke)
        if why:
            found.append(Finding("crash", end.at_s, f"{end.instance} (life {end.life}) {why}"))
    return found


def _wrong(end: End, spoke: bool) -> str | None:
    how = f"was ended by signal {-end.code}" if end.code < 0 else f"ended with {end.code}"
    if end.code in _MEANINGS:
        return f"{how}, {_MEANINGS[end.code]}"
    if "SIGKILL" in end.asked and end.code == _KILLED:
        return None
    if not end.asked:
        return f"{how}, and nobody had asked it to"
    if end.code == 0 and "SIGTERM" in end.asked:
        return None
    if end.code == _TERMINATED and "SIGTERM" in end.asked and not spoke:
        return None
    return f"{how} after {' and '.join(end.asked)}"
