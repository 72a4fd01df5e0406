"""One self-contained HTML file for one run: nothing is loaded from anywhere, and it prints."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from chaos import history
from chaos.judge import Check, Run
from chaos.report.lanes import Picture, picture, story
from chaos.report.svg import timeline
from chaos.scenario import Scenario

FILE = "report.html"
_LOG_LINES = 400


def write(folder: Path, run: Run, scenario: Scenario, checks: list[Check], verdict: str) -> Path:
    """Write the report into the run's folder; returns its path."""
    found = picture(history.lines(folder))
    path = folder / FILE
    path.write_text(render(found, run, scenario, checks, verdict, _logs(folder)), encoding="utf-8")
    return path


def render(found: Picture, run: Run, scenario: Scenario, checks: list[Check], verdict: str, logs: list[str]) -> str:
    """The document."""
    facts = run.facts
    rows = "\n".join(
        f'<tr><td><span class="verdict {c.verdict.lower()}">{c.verdict}</span></td><th scope="row">{escape(c.name)}</th>'
        f"<td>{escape(c.text)}</td></tr>"
        for c in checks
    )
    faults = "\n".join(
        f"<tr><td>{b.start_s:.2f} s</td><td>{b.end_s:.2f} s</td><td>{escape(b.text)}</td>"
        f"<td>{escape(b.verified or 'not verified')}</td></tr>"
        for b in found.bands
    )
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    where = f"{facts['store']}, ttl {facts['ttl_s']:g} s, {facts['substrate']}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: {escape(str(facts["scenario"]))} on {escape(str(facts["store"]))}</title>
<style>{style}</style></head><body>
<header class="{verdict.lower()}"><p class="big">{verdict}</p>
<div><h1>{escape(scenario.title)}</h1><p>{escape(where)}</p></div></header>
<main><p class="story">{escape(story(found))}</p>
<figure>{timeline(found)}<figcaption>{_LEGEND}</figcaption></figure>
<h2>What was checked</h2><div class="scroll"><table>{rows}</table></div>
<h2>What was done</h2>
<div class="scroll"><table><tr><th>from</th><th>to</th><th>fault</th><th>shown to bite by</th></tr>{faults}</table></div>
<h2>Why</h2><p>{escape(scenario.why.strip())}</p>
<h2>What the daemons logged</h2><pre>{escape(chr(10).join(logs)) or "nothing"}</pre></main>
</body></html>
"""


def _logs(folder: Path) -> list[str]:
    merged = []
    for path in sorted(folder.glob("*/daemon.log")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                line = {"ts": "", "msg": text}
            if not isinstance(line, dict):
                continue
            known = ("ts", "level", "msg", "logger", "election")
            more = " ".join(f"{key}={value}" for key, value in line.items() if key not in known)
            merged.append((str(line.get("ts", "")), path.parent.name, f"{line.get('level', '')} {line.get('msg', '')}  {more}"))
    merged.sort()
    return [f"{ts[11:]} {name} {text}".rstrip() for ts, name, text in merged][:_LOG_LINES]


_LEGEND = (
    "A bar is an instance answering yes, with its token; its thin end is the last promise running out. Hatched: no answer. "
    "Triangles: the daemon was started, killed or signalled. Ticks below: writes of the app beside it, fenced above, unfenced "
    "below; a cross is a write that the fence refused as stale. Shaded: a fault in force."
)
