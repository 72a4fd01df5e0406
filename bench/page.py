"""The recorded figures: `docs/figures.json`, with every value, and the tables in `docs/benchmarks.md`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.stats import Figure, table

DOCS = Path(__file__).parent.parent / "docs"
FIGURES = DOCS / "figures.json"
PAGE = DOCS / "benchmarks.md"
MARKER = "<!-- from here on written by `python -m bench --write` -->"
TITLES = {
    "handover": "Hand-over",
    "promise": "Hand-over with a promise outstanding",
    "failover": "Crash",
    "footprint": "At rest",
    "requests": "Load on the store",
    "command": "The command",
    "client": "The client",
    "pacing": "A thousand requests a second",
    "watchers": "Watchers",
    "serving": "Serving",
}
Recorded = dict[str, dict[str, Any]]


def as_json(recorded: Recorded) -> str:
    """Six significant digits, lists of numbers on one line: a diff that people can read."""
    text = json.dumps(_rounded(recorded), indent=1, ensure_ascii=False)
    return (
        re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found.group().split()).replace("[ ", "[").replace(" ]", "]"), text)
        + "\n"
    )


def text(recorded: Recorded, order: list[str]) -> str:
    """The tables, with what they were taken on."""
    parts = []
    for name in (name for name in order if name in recorded):
        run = recorded[name]
        figures = [Figure(**figure) for figure in run["figures"]]
        taken = f"`python -m bench {name}`. {run['machine']}; load average {run['load']:.1f} at the start."
        parts.append(f"### {TITLES.get(name, name)}\n\n{taken}\n\n{table(figures)}\n")
    return "\n".join(parts)


def write(recorded: Recorded, order: list[str]) -> None:
    """Renew the page below its marker."""
    head = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    PAGE.write_text(f"{head}{MARKER}\n\n{text(recorded, order)}", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
