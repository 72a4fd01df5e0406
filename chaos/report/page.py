"""One self-contained HTML file for one run: nothing is loaded from anywhere, it has no script, and it prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from chaos import history
from chaos.judge import Check, Run
from chaos.report.claims import Term
from chaos.report.lanes import Picture, picture
from chaos.report.legend import legend
from chaos.report.logs import Cut, Entry, Source, entries
from chaos.report.marks import Marks, marks
from chaos.report.story import story
from chaos.report.svg import timeline
from chaos.scenario import Scenario

FILE = "report.html"
_FILES = ("history.ndjson", "scenario.yaml", "results.json", "harness.log")
_SOURCES: dict[Source, str] = {
    "probes": "what the probes saw",
    "harness": "the harness",
    "daemons": "daemons",
    "apps": "apps",
    "stores": "store nodes",
}


def write(folder: Path, run: Run, scenario: Scenario, checks: list[Check], verdict: str) -> Path:
    """Write the report into the run's folder; returns its path."""
    lines = list(history.lines(folder))
    found = picture(lines)
    log, cuts = entries(folder, found, lines)
    files = [name for name in _FILES if (folder / name).exists()]
    path = folder / FILE
    path.write_text(render(found, run, scenario, checks, verdict, log, cuts, files), encoding="utf-8")
    return path


def render(
    found: Picture,
    run: Run,
    scenario: Scenario,
    checks: list[Check],
    verdict: str,
    log: Sequence[Entry],
    cuts: Sequence[Cut] = (),
    files: Sequence[str] = (),
) -> str:
    """The document."""
    facts = run.facts
    shown = marks(checks, run, found, log)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    told = escape(story(found, control=scenario.expect.overlap))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: {escape(str(facts["scenario"]))} on {escape(str(facts["store"]))}</title>
<style>{style}</style></head><body>
<header class="{verdict.lower()}"><p class="big">{verdict}</p>
<div><h1>{escape(scenario.title)}</h1><p>{escape(_where(run))}</p></div></header>
<main><p class="story">{told}</p>
<figure><div class="scroll">{timeline(found, log, shown)}</div><figcaption>{legend(found)}</figcaption></figure>
<h2>What was checked</h2><div class="scroll"><table><thead><tr><th>verdict</th><th>check</th><th>finding</th><th>evidence</th></tr>
</thead><tbody>{_checks(checks, shown)}</tbody></table></div>
<h2>What was done</h2><div class="scroll"><table>
<thead><tr><th>from</th><th>to</th><th>fault</th><th>shown to bite by</th></tr></thead><tbody>{_faults(found)}</tbody></table></div>
<h2>Who led</h2><div class="scroll"><table><thead><tr><th>token</th><th>instance</th><th>known by</th><th>first claim</th>
<th>last promise</th><th>gap before it</th></tr></thead><tbody>{_terms(found)}</tbody></table></div>
<h2>Why this is tried</h2><p>{escape(scenario.why.strip())}</p>
<h2 id="log">What was said</h2>{_log(log, cuts)}
<p class="soft">Beside this file: {", ".join(f'<a href="{name}">{name}</a>' for name in files) or "nothing"}.</p></main>
</body></html>
"""


def _where(run: Run) -> str:
    facts = run.facts
    words = [run.subject, f"on {facts['store']}", f"ttl {facts['ttl_s']:g} s", f"by {facts['substrate']}"]
    words += [f"seed {facts['seed']}"] if facts.get("seed") else []
    words += [str(facts["began_at"])] if facts.get("began_at") else []
    words += [f"commit {facts['commit']}"] if facts.get("commit") else []
    return ", ".join(words)


def _checks(checks: Sequence[Check], shown: Marks) -> str:
    rows = []
    told = set()
    for check in checks:
        evidence = "" if check.name in told else _evidence(check, shown)
        told.add(check.name)
        rows.append(
            f'<tr><td><span class="verdict {check.verdict.lower()}">{check.verdict}</span></td>'
            f'<th scope="row">{escape(check.name)}</th><td>{escape(check.text)}</td><td class="evidence">{evidence}</td></tr>'
        )
    return "\n".join(rows)


def _evidence(check: Check, shown: Marks) -> str:
    links = []
    for mark in shown.of.get(check.name, []):
        log = "" if mark.log is None else f' <a href="#log-{mark.log}">log</a>'
        links.append(f'<span><a href="#at-{mark.letter}"><b>{mark.letter}</b> {mark.at_s:.2f} s</a>{log}</span>')
    more = shown.more.get(check.name, 0)
    if more:
        links.append(f'<span class="soft">and {more} more</span>')
    return " ".join(links) or '<a class="soft" href="#log">the whole run</a>'


def _faults(found: Picture) -> str:
    return "\n".join(
        f'<tr><td class="number">{b.start_s:.2f} s</td><td class="number">{b.end_s:.2f} s</td><td>{escape(b.text)}</td>'
        f"<td>{escape(b.verified or 'not verified')}</td></tr>"
        for b in found.bands
    )


def _by(term: Term) -> str:
    return "its answers" if term.polled else "its journal alone"


def _terms(found: Picture) -> str:
    rows = []
    until_s: float | None = None
    for term in found.terms:
        gap = "" if until_s is None else f"{(term.start_s - until_s) * 1000:.1f} ms"
        until_s = term.until_s
        rows.append(
            f'<tr><td class="number">{term.token}</td><th scope="row">{escape(term.name)}</th><td>{_by(term)}</td>'
            f'<td class="number">{term.start_s:.3f} s</td><td class="number">{term.until_s:.3f} s</td>'
            f'<td class="number">{gap}</td></tr>'
        )
    return "\n".join(rows)


def _loud(level: str) -> str:
    return "" if level == "info" else f"{level.upper()} "


def _log(log: Sequence[Entry], cuts: Sequence[Cut]) -> str:
    there = [source for source in _SOURCES if any(entry.source == source for entry in log)]
    boxes = "".join(
        f'<label><input type="checkbox" id="show-{source}" checked> {_SOURCES[source]} '
        f"({sum(entry.source == source for entry in log)})</label>"
        for source in there
    )
    wide = max((len(entry.who) for entry in log), default=0)
    lines = "".join(
        f'<span id="log-{number}" class="{entry.source} {entry.level}"><i>{entry.at_s:9.3f} s</i> '
        f"<b>{escape(entry.who.ljust(wide))}</b> {_loud(entry.level)}{escape(entry.text)}\n</span>"
        for number, entry in enumerate(log)
    )
    told = "".join(
        f"<li>{cut.lines - cut.shown} of {cut.lines} lines of "
        f'<a href="{escape(cut.file)}">{escape(cut.file)}</a> are not shown here: of a long file the most urgent ones are, '
        "then the earliest</li>"
        for cut in cuts
    )
    left_out = f'<ul class="soft">{told}</ul>' if told else ""
    return f'<div class="filter">{boxes}</div><pre class="log">{lines or "nothing"}</pre>{left_out}'
