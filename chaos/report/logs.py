"""Everything that was said, on the run's one clock: daemons, apps, store nodes, the harness, and what the probes saw change.

A log's own times are of the wall clock; the run's first line tells how far that was from the history's clock. A file too long for
a page loses its least urgent lines, and the page says how many, and where all of them are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from chaos.history import Line
from chaos.report.lanes import Picture

Source = Literal["daemons", "apps", "stores", "harness", "probes"]
FILES: dict[str, Source] = {"daemon.log": "daemons", "app.log": "apps", "server.log": "stores"}
"""By the name of a file in a host's folder: whose it is."""
LEVELS = ("debug", "info", "warning", "error")
_MOST = 700
"""Lines of one file on the page."""
_MOST_CHARACTERS = 600
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)[.,](\d{1,9})(Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(r"\b(DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|PANIC)\b", re.IGNORECASE)
_BRACKETS = re.compile(r"^\[[A-Z]+\]\s*")
_AS = {"notice": "info", "warn": "warning", "err": "error", "fatal": "error", "critical": "error", "panic": "error"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when, in seconds from the run's beginning; who said it, and what."""

    at_s: float
    source: Source
    who: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A file that is not shown whole: how many lines it has, and how many are shown."""

    file: str
    lines: int
    shown: int


def entries(folder: Path, found: Picture, history: Iterable[Line]) -> tuple[list[Entry], list[Cut]]:
    """All lines in order of time, and which files were cut."""
    every = list(history)
    merged = [*_harness(every, found), *_probes(found)]
    cuts = []
    boot_to_wall = _offset(every)
    for path in sorted(folder.glob("*/*.log")):
        source = FILES.get(path.name)
        if source is None or boot_to_wall is None:
            continue
        own = list(_file(path, source, boot_to_wall, found.start_ns))
        shown = _most_urgent(own)
        if len(shown) < len(own):
            cuts.append(Cut(f"{path.parent.name}/{path.name}", len(own), len(shown)))
        merged += shown
    return sorted(merged, key=lambda entry: entry.at_s), cuts


def _offset(history: list[Line]) -> timedelta | None:
    """What the wall clock shows less what the history's clock shows; None where nothing tells. Old runs know it to a second."""
    first = history[0] if history and history[0]["kind"] == "run" else None
    if first is None:
        return None
    boot = timedelta(microseconds=first["at_ns"] / 1000)
    if "wall_ns" in first:
        return timedelta(microseconds=first["wall_ns"] / 1000) - boot
    try:
        began = datetime.fromisoformat(str(first.get("began_at", "")))
    except ValueError:
        return None
    return began - datetime(1970, 1, 1, tzinfo=UTC) - boot


def _file(path: Path, source: Source, boot_to_wall: timedelta, start_ns: int) -> Iterator[Entry]:
    """A line that has no time, as of a traceback, belongs to the one before it."""
    at_s = 0.0
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not text.strip():
            continue
        stamp, level, said = _parsed(text)
        if stamp is not None:
            at_s = (stamp - datetime(1970, 1, 1, tzinfo=UTC) - boot_to_wall).total_seconds() - start_ns / 1e9
        yield Entry(at_s, source, path.parent.name, level, said[:_MOST_CHARACTERS])


def _parsed(text: str) -> tuple[datetime | None, str, str]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if isinstance(line, dict):
        known = ("ts", "level", "msg", "logger", "election", "caller")
        more = " ".join(f"{key}={value}" for key, value in line.items() if key not in known)
        return _time(str(line.get("ts", ""))), _level(str(line.get("level", ""))), f"{line.get('msg', '')}  {more}".rstrip()
    head = text[:90]
    match = _LEVEL.search(head)
    said = _BRACKETS.sub("", _TIME.sub("", text, count=1).strip()) if _TIME.search(head) else text
    return _time(head), _level(match[1] if match else "error" if text.startswith("Traceback") else ""), said


def _time(text: str) -> datetime | None:
    match = _TIME.search(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    stamp = datetime.fromisoformat(f"{day}T{clock}.{fraction[:6].ljust(6, '0')}{'+00:00' if zone in ('Z', None) else zone}")
    return stamp if zone else stamp.replace(tzinfo=None).astimezone()  # ZooKeeper writes the machine's own time


def _level(word: str) -> str:
    known = _AS.get(word.lower(), word.lower())
    return known if known in LEVELS else "info"


def _most_urgent(own: list[Entry]) -> list[Entry]:
    """At most so many: errors before warnings before the rest, and of each the earliest; in their own order."""
    if len(own) <= _MOST:
        return own
    order = sorted(range(len(own)), key=lambda number: (-LEVELS.index(own[number].level), number))
    return [own[number] for number in sorted(order[:_MOST])]


def _harness(history: list[Line], found: Picture) -> Iterator[Entry]:
    for line in history:
        at_s = (line["at_ns"] - found.start_ns) / 1e9
        match line["kind"]:
            case "fault":
                said = "warning", f"injected: {line['text']}"
            case "bites":
                said = "info", f"verified: {line['seen']}"
            case "heal":
                said = "warning", f"healed: {line['text']}"
            case "missed":
                said = "error", f"in vain: {line['text']}"
            case "step":
                said = "info", str(line["text"])
            case "process":
                said = "info", f"daemon {line['pod']}: {line['what']}"
            case "sessions":
                said = "info", f"the store keeps {line['found']} sessions, {line['running']} daemons run"
            case "end" | "broken-off":
                said = "info", "the run is over" if line["kind"] == "end" else "the run broke off"
            case _:
                continue
        yield Entry(at_s, "harness", "harness", *said)


def _probes(found: Picture) -> Iterator[Entry]:
    """Every change that the probes saw, every write that a fence refused, and what should not have been."""
    for lane in found.lanes.values():
        for stretch in lane.stretches:
            if not stretch.polled:
                text = f"promises until {stretch.until_s:.3f} s, token {stretch.token}, by its journal alone"
                yield Entry(stretch.start_s, "probes", lane.name, "info", text)
                continue
            yield Entry(stretch.start_s, "probes", lane.name, "info", f"says yes, token {stretch.token}")
            last = f"said yes for the last time, token {stretch.token}, promised until {stretch.until_s:.3f} s"
            yield Entry(stretch.last_yes_s, "probes", lane.name, "info", last)
            for start_s, end_s in stretch.doubts:
                text = f"suspended for {end_s - start_s:.2f} s: the store is silent, the lease not yet over"
                yield Entry(start_s, "probes", lane.name, "info", text)
        for phase in lane.phases:
            text = f"{phase.what} for {phase.end_s - phase.start_s:.2f} s"
            yield Entry(phase.start_s, "probes", lane.name, "info", text)
        for write in lane.writes:
            if not write.accepted:
                text = f"the fenced resource refuses a write with token {write.token}: stale"
                yield Entry(write.at_s, "probes", lane.name, "warning", text)
            elif write.stale:
                resource = "fenced" if write.fenced else "unfenced"
                text = f"the {resource} resource takes a write with token {write.token}, though a higher one has been"
                yield Entry(write.at_s, "probes", lane.name, "error" if write.fenced else "warning", text)
    for overlap in found.overlaps:
        yield Entry(overlap.start_s, "probes", overlap.second[0], "error", f"two leaders: {overlap.text}")
