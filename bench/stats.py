"""A few words of statistics, and the table they are shown in."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """One line of the result: what was measured, what is aimed at, what came out, and whether that was reached.

    `met` is None for what has no goal. `values` are the bare numbers, for machines: seconds, bytes or counts as their names say.
    """

    name: str
    goal: str
    measured: str
    met: bool | None = None
    values: dict[str, float | list[float]] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank). Of fewer than 100 values p99 is the largest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def flat(lists: Iterable[Iterable[T]]) -> list[T]:
    """One list of all."""
    return list(itertools.chain.from_iterable(lists))


def median(values: Sequence[float]) -> float:
    """The middle value; the mean of the middle two."""
    return statistics.median(values)


def ratios(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[float]:
    """Round by round, our median over theirs: what has changed on the machine between two rounds cancels out."""
    return [median(mine) / median(other) for mine, other in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """`median (min-max) unit`, for a table."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f}){' ' if unit else ''}{unit}"


def spread_ms(values_s: Sequence[float]) -> str:
    """The same for seconds, shown in milliseconds, with how many there are."""
    return f"{spread([value * 1e3 for value in values_s], 'ms')}, n={len(values_s)}"


def table(figures: Sequence[Figure]) -> str:
    """Markdown."""
    mark = {True: "yes", False: "**no**", None: "-"}
    rows = [f"| {f.name} | {f.goal} | {f.measured} | {mark[f.met]} |" for f in figures]
    return "\n".join(["| figure | goal | measured (median, min-max) | reached |", "|---|---|---|---|", *rows])
