"""A few words of statistics, and the table they are shown in."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the result: what was measured, what is aimed at, what came out, and whether it was reached."""

    name: str
    goal: str
    measured: str
    met: bool | None = None


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: list[float]) -> float:
    """The middle value; the lower of two."""
    return percentile(values, 0.5)


def spread_ms(values_s: list[float]) -> str:
    """`median (min-max) ms, n`."""
    return f"{median(values_s) * 1e3:.2f} ms ({min(values_s) * 1e3:.2f}-{max(values_s) * 1e3:.2f}, n={len(values_s)})"


def table(figures: list[Figure]) -> str:
    """Markdown."""
    mark = {True: "yes", False: "**no**", None: ""}
    rows = [f"| {f.name} | {f.goal} | {f.measured} | {mark[f.met]} |" for f in figures]
    return "\n".join(["| figure | goal | measured | reached |", "|---|---|---|---|", *rows])
