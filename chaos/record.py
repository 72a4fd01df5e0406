"""The figures of the track record: `record OUT...` sums passes up, and writes them into their place in `TRACK_RECORD.md`.

An output folder, or a `results.json` that was kept of one, is a pass. What stands outside the two marks is kept by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import compare, judge, runs
from chaos.report.results import Result, results, smallest_gaps
from chaos.scenario import ScenarioError
from chaos.stores import KINDS
from chaos.subjects import PEERS

FILE = Path(__file__).with_name("TRACK_RECORD.md")
BEGIN, END = "<!-- figures: written by `python -m chaos record` -->", "<!-- end of the figures -->"


@dataclass(frozen=True, slots=True)
class Pass:
    """The runs of one output folder."""

    name: str
    found: tuple[Result, ...]

    @property
    def commit(self) -> str:
        """In which code they were made."""
        known = sorted({str(each["commit"]) for each in self.found if each.get("commit")})
        return ", ".join(f"`{each}`" for each in known) or "unknown"

    @property
    def day(self) -> str:
        """When it began."""
        return min((str(each["began_at"])[:10] for each in self.found if each.get("began_at")), default="")


def read(paths: Sequence[Path]) -> list[Pass]:
    """The passes of those folders or files. Raises `ScenarioError` for one that holds no runs."""
    return [_pass(path) for path in paths]


def _pass(path: Path) -> Pass:
    if path.is_dir():
        found = results(path)
    else:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["results"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ScenarioError(f"{path} is no results.json over runs: {error}") from None
    if not found:
        raise ScenarioError(f"{path} holds no judged runs: `run --out` makes them")
    return Pass(path.name if path.is_dir() else path.parent.name, tuple(found))


def write(path: Path, passes: Sequence[Pass]) -> Path:
    """Put the figures where the marks are; the rest stays. Raises `ScenarioError` for a file without the marks."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ScenarioError(f"{path} has no place for the figures: put the lines {BEGIN!r} and {END!r} into it")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{section(passes)}\n\n{END}{after}", encoding="utf-8")
    return path


def section(passes: Sequence[Pass]) -> str:
    """What stands between the marks."""
    every = [each for one in passes for each in one.found]
    ours = [each for each in every if each["subject"] == "leaderd" and each.get("substrate") != "sim"]
    simulated = [each for each in every if each["subject"] == "leaderd" and each.get("substrate") == "sim"]
    head = ("pass", "begun", "commit", "runs of leaderd", "came to", "of other tools")
    parts = ["### Passes", _table(head, (_told(one) for one in passes))]
    if ours:
        parts += ["### Runs of leaderd on real stores, all passes together", _counts(ours)]
    if simulated:
        parts.append(f"In virtual time besides: {len(simulated)} runs, {_words(simulated)}.")
    bad = [each for each in every if each["subject"] == "leaderd" and each["verdict"] != judge.PASS]
    if bad:
        parts += ["### What did not pass", "\n".join(f"- {_line(each)}" for each in bad)]
    for name in _compared(every):
        parts += [f"### `compare {name}`", compare.table(compare.rows(name, every))]
    return "\n\n".join(parts)


def _told(one: Pass) -> tuple[str, ...]:
    ours = [each for each in one.found if each["subject"] == "leaderd"]
    return (one.name, one.day, one.commit, str(len(ours)), _words(ours) or "-", str(len(one.found) - len(ours)))


def _words(found: Iterable[Result]) -> str:
    words = [each["verdict"] for each in found]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _counts(found: Sequence[Result]) -> str:
    gaps = smallest_gaps(found)
    meant = [each for each in found if not each["figures"].get("by_hand") and not each["figures"].get("control")]
    count: dict[str, Callable[[Sequence[Result]], int]] = {
        "runs": len,
        "PASS": lambda own: sum(each["verdict"] == judge.PASS for each in own),
        "FAIL": lambda own: sum(each["verdict"] == judge.FAIL for each in own),
        "UNKNOWN": lambda own: sum(each["verdict"] == judge.UNKNOWN for each in own),
        "broke off": lambda own: sum(each["verdict"] == runs.BROKEN for each in own),
        "scenarios": lambda own: len({each["scenario"] for each in own}),
        "terms": lambda own: sum(each["figures"].get("terms", 0) for each in own),
        "promises in the daemons' journals": lambda own: sum(each["figures"].get("promises", 0) for each in own),
        "fenced writes": lambda own: sum(each["figures"].get("fenced_writes", 0) for each in own),
        "runs with two leaders": lambda own: sum(_failed(each, "no-overlap", "promises-kept") for each in own if each in meant),
        "runs with stale fenced writes": lambda own: sum(_failed(each, "no-stale-write") for each in own),
        "runs with falling tokens": lambda own: sum(_failed(each, "tokens-increase") for each in own),
    }
    stores = [store for store in KINDS if any(each["store"] == store for each in found)]
    lines = [
        (what, *(f"{number([each for each in found if each['store'] == store]):,}" for store in stores), f"{number(found):,}")
        for what, number in count.items()
    ]
    nearest = (f"{gaps[store]:.1f} ms" if store in gaps else "-" for store in stores)
    least = f"{min(gaps.values()):.1f} ms" if gaps else "-"
    lines.append(("smallest gap between an old promise and a new claim", *nearest, least))
    return _table(("", *stores, "all"), lines)


def _failed(result: Result, *names: str) -> bool:
    checks: list[dict[str, Any]] = result["checks"]
    return any(check["name"] in names and check["verdict"] == judge.FAIL for check in checks)


def _line(result: Result) -> str:
    wrong = "; ".join(f"{check['name']}: {check['text']}" for check in result["checks"] if check["verdict"] == result["verdict"])
    seed = f", seed {result['seed']}" if result.get("seed") else ""
    return f"{result['verdict']}: {result['scenario']} on {result['store']}{seed}: {wrong or result['story']}"


def _compared(found: Sequence[Result]) -> list[str]:
    """The scenarios that a tool of today has been in, but for the one that every comparison has."""
    names = dict.fromkeys(each["scenario"] for each in found if each["subject"] in PEERS)
    return [name for name in names if name != compare.HAND_OVER]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])
