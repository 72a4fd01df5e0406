"""Over many runs: `results.json` and `junit.xml` for machines, `index.html` for people. Written anew from the run folders."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from chaos.judge import FAIL, PASS, worst
from chaos.leftovers import RESULTS

INDEX, JUNIT = "index.html", "junit.xml"
Result = dict[str, Any]


def results(out: Path) -> list[Result]:
    """What the runs of an output folder came to, oldest first. A run without a verdict is left out."""
    found = []
    for path in sorted(out.glob(f"*/{RESULTS}")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "scenario" in result:
            found.append({**result, "folder": path.parent.name})
    return found


def write(out: Path) -> Path:
    """All three files; returns the index page."""
    found = results(out)
    verdict = worst(result["verdict"] for result in found)
    counts = {word: sum(result["verdict"] == word for result in found) for word in ("PASS", "FAIL", "UNKNOWN")}
    summary = {"verdict": verdict, "runs": len(found), "counts": counts, "smallest_gap_ms": smallest_gaps(found), "results": found}
    (out / RESULTS).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (out / JUNIT).write_bytes(junit(found))
    (out / INDEX).write_text(page(found), encoding="utf-8")
    return out / INDEX


def smallest_gaps(found: Iterable[Result]) -> dict[str, float]:
    """By store: the smallest gap of any run of leaderd between an old promise and a new claim, in ms; runs by hand are left out."""
    gaps: dict[str, float] = {}
    for result in found:
        gap = result["figures"].get("smallest_gap_ms")
        if gap is not None and result["subject"] == "leaderd" and not result["figures"].get("by_hand"):
            gaps[result["store"]] = min(gap, gaps.get(result["store"], gap))
    return gaps


def junit(found: Sequence[Result]) -> bytes:
    """JUnit XML: a suite a store, a case a run. FAIL is a failure, UNKNOWN an error: neither is green."""
    root = xml.Element("testsuites", name="leaderd-chaos")
    for store in sorted({result["store"] for result in found}):
        ours = [result for result in found if result["store"] == store]
        words = [result["verdict"] for result in ours]
        suite = xml.SubElement(root, "testsuite", name=store, tests=str(len(ours)), failures=str(words.count(FAIL)))
        suite.set("errors", str(sum(word not in (PASS, FAIL) for word in words)))
        suite.set("time", f"{sum(result['took_s'] for result in ours):.1f}")
        for result in ours:
            name = result["scenario"] + (f" seed {result['seed']}" if result["seed"] else "")
            case = xml.SubElement(suite, "testcase", classname=f"chaos.{store}.{result['subject']}", name=name)
            case.set("time", f"{result['took_s']:.1f}")
            if result["verdict"] != PASS:
                wrong = [check for check in result["checks"] if check["verdict"] == result["verdict"]]
                said = "; ".join(f"{check['name']}: {check['text']}" for check in wrong)
                bad = xml.SubElement(case, "failure" if result["verdict"] == FAIL else "error", message=_xml_text(said))
                bad.text = _xml_text(f"{result['story']}\n{result['folder']}")
    text: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _xml_text(text: str) -> str:
    """Without the control characters that XML 1.0 cannot carry (its production 2, `Char`)."""
    return "".join(each for each in text if each in "\t\n" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd")


def page(found: Sequence[Result]) -> str:
    """The index: a scenario a row, a store a column, then every run with its story."""
    verdict = worst(result["verdict"] for result in found)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    counts = ", ".join(
        f"{number} {word}" for word in ("PASS", "FAIL", "UNKNOWN") if (number := sum(result["verdict"] == word for result in found))
    )
    gaps = "; ".join(f"{store} {gap:.0f} ms" for store, gap in sorted(smallest_gaps(found).items()))
    gaps = f"<p>The smallest gap between an old promise and a new claim: {escape(gaps)}.</p>" if gaps else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: {len(found)} runs</title>
<style>{style}</style></head><body>
<header class="{verdict.lower()}"><p class="big">{verdict}</p>
<div><h1>{len(found)} runs of the chaos suite</h1><p>{counts or "none came to a verdict"}</p></div></header>
<main>{gaps}<h2>Scenarios and stores</h2><div class="scroll">{_matrix(found)}</div>
<h2>Every run, newest first</h2><div class="scroll"><table class="runs"><thead><tr><th>verdict</th><th>run</th><th>fail-over</th>
<th>smallest gap</th><th>took</th><th>what happened</th></tr></thead><tbody>{"".join(_row(each) for each in reversed(found))}
</tbody></table></div></main>
</body></html>
"""


def _pill(result: Result, text: str) -> str:
    word = result["verdict"]
    return f'<a class="verdict {word.lower()}" href="{escape(result["folder"])}/report.html">{escape(text)}</a>'


def _matrix(found: Sequence[Result]) -> str:
    columns = sorted({(result["subject"] != "leaderd", result["subject"], result["store"]) for result in found})
    heads = "".join(f"<th>{escape(store if subject == 'leaderd' else subject)}</th>" for _, subject, store in columns)
    rows = []
    for scenario in sorted({result["scenario"] for result in found}):
        cells = []
        for _, subject, store in columns:
            ours = [r for r in found if (r["scenario"], r["subject"], r["store"]) == (scenario, subject, store)]
            cells.append(f"<td>{_cell(ours)}</td>")
        rows.append(f'<tr><th scope="row">{escape(scenario)}</th>{"".join(cells)}</tr>')
    return f"<table><thead><tr><th>scenario</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(ours: Sequence[Result]) -> str:
    if not ours:
        return '<span class="none">not run</span>'
    word = worst(result["verdict"] for result in ours)
    shown = [result for result in ours if result["verdict"] == word][-1]
    number = sum(result["verdict"] == word for result in ours)
    return _pill(shown, word if len(ours) == 1 else f"{word} {number} of {len(ours)}")


def _row(result: Result) -> str:
    figures = result["figures"]
    failover, gap = figures.get("failover_s"), figures.get("smallest_gap_ms")
    name = f"{result['scenario']}, {result['subject']} on {result['store']}" + (
        f", seed {result['seed']}" if result["seed"] else ""
    )
    cells = [
        f"<td>{_pill(result, result['verdict'])}</td>",
        f'<th scope="row">{escape(name)}<br><small>{escape(result["began_at"])}</small></th>',
        f"<td>{'-' if failover is None else f'{failover:.1f} s'}</td>",
        f"<td>{'-' if gap is None else f'{gap:.0f} ms'}</td>",
        f"<td>{result['took_s']:.0f} s</td><td>{escape(result['story'])}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>\n"
