"""Over many runs: `results.json` and `junit.xml` for machines, `index.html` for people. Written anew from the run folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from chaos import runs
from chaos.leftovers import RESULTS
from chaos.report.junit import junit
from chaos.report.page import FILE
from chaos.report.results import Result, counts, name, results, smallest_gaps, worst

INDEX, JUNIT = "index.html", "junit.xml"


def write(out: Path) -> Path:
    """All three files; returns the index page."""
    found = results(out)
    summary = {
        "verdict": worst(found),
        "runs": len(found),
        "counts": counts(found),
        "smallest_gap_ms": smallest_gaps(found),
        "results": found,
    }
    (out / RESULTS).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (out / JUNIT).write_bytes(junit(found))
    (out / INDEX).write_text(page(found), encoding="utf-8")
    return out / INDEX


def page(found: Sequence[Result]) -> str:
    """The index: a scenario a row, a store a column, then every run with its story."""
    verdict = worst(found)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    told = ", ".join(f"{number} {word}" for word, number in counts(found).items() if number)
    gaps = "; ".join(f"{store} {gap:.0f} ms" for store, gap in sorted(smallest_gaps(found).items()))
    gaps = f"<p>The smallest gap between an old promise and a new claim: {escape(gaps)}.</p>" if gaps else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: {len(found)} runs</title>
<style>{style}</style></head><body>
<header class="{verdict.lower()}"><p class="big">{verdict}</p>
<div><h1>{len(found)} runs of the chaos suite</h1><p>{told or "none came to a verdict"}</p></div></header>
<main>{gaps}<h2>Scenarios and stores</h2><div class="scroll">{_matrix(found)}</div>
<h2>Every run, newest first</h2><div class="scroll"><table class="runs"><thead><tr><th>verdict</th><th>run</th><th>fail-over</th>
<th>smallest gap</th><th>took</th><th>what happened</th></tr></thead><tbody>{"".join(_row(each) for each in reversed(found))}
</tbody></table></div></main>
</body></html>
"""


def _pill(result: Result, text: str) -> str:
    word = result["verdict"]
    file = runs.LOG if word == runs.BROKEN else FILE
    return f'<a class="verdict {word.lower()}" href="{escape(result["folder"])}/{file}">{escape(text)}</a>'


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
    word = worst(ours)
    shown = [result for result in ours if result["verdict"] == word][-1]
    number = sum(result["verdict"] == word for result in ours)
    return _pill(shown, word if len(ours) == 1 else f"{word} {number} of {len(ours)}")


def _row(result: Result) -> str:
    figures = result["figures"]
    failover, gap = figures.get("failover_s"), figures.get("smallest_gap_ms")
    full = f"{name(result)}: {result['subject']} on {result['store']}"
    cells = [
        f"<td>{_pill(result, result['verdict'])}</td>",
        f'<th scope="row">{escape(full)}<br><small>{escape(result["began_at"])}</small></th>',
        f'<td class="number">{"-" if failover is None else f"{failover:.1f} s"}</td>',
        f'<td class="number">{"-" if gap is None or result["subject"] != "leaderd" else f"{gap:.0f} ms"}</td>',
        f'<td class="number">{result["took_s"]:.0f} s</td><td>{escape(result["story"])}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>\n"
