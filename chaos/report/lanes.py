"""The picture before it is drawn: lanes of terms, silences and writes, bands of faults. Seconds from the run's beginning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.history import Line
from chaos.report.claims import Claims, Overlap, Term

JOIN_S = 0.6
"""Two answers of one term further apart than this are two stretches: between them nobody was asked, or nobody answered."""
MANY = 8
"""Of more lanes than this, those in which nothing happens are shown as one."""
SILENT, SUSPENDED = "no answer", "suspended"
SHOWN = frozenset({SILENT, "unknown", "starting", "draining", "paused"})
"""What an instance can be besides leader and idle follower, by its own word or by its silence."""


@dataclass
class Stretch:
    """One instance leading in one term: from the first yes to the last one, and to the end of the last promise.

    `doubts`: where it said yes in the state `suspended`, because the store was silent and the lease not yet over.
    """

    token: int
    start_s: float
    last_yes_s: float
    until_s: float
    doubts: list[tuple[float, float]] = field(default_factory=list)
    polled: bool = True
    """Whether a probe saw it; else only the daemon's journal tells of it."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch in which an instance was something else than a leader or a follower: one of `SHOWN`."""

    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the app beside an instance, to the fenced or the unfenced resource. `stale`: after one with a higher token."""

    at_s: float
    token: int
    fenced: bool
    accepted: bool
    stale: bool = False


@dataclass
class Lane:
    """One instance."""

    name: str
    stretches: list[Stretch] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def silent(self) -> list[tuple[float, float]]:
        """Where it did not answer."""
        return [(phase.start_s, phase.end_s) for phase in self.phases if phase.what == SILENT]

    @property
    def is_idle(self) -> bool:
        """Whether the probes saw nothing in it: a follower all the time."""
        return not (
            any(stretch.polled for stretch in self.stretches)
            or self.writes
            or any(phase.what != "starting" for phase in self.phases)
        )


@dataclass
class Band:
    """One fault, from its injection to its healing."""

    text: str
    start_s: float
    end_s: float
    verified: str = ""


@dataclass
class Picture:
    """All of it. `begin_s`: when the first instance was there; before that the store came up."""

    length_s: float = 0.0
    begin_s: float = 0.0
    start_ns: int = 0
    lanes: dict[str, Lane] = field(default_factory=dict)
    bands: list[Band] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    by_hand: bool = False
    """Whether an operator took away what somebody led by: no lease can keep that promise."""

    def lane(self, name: str) -> Lane:
        """The lane of an instance, made on first use."""
        return self.lanes.setdefault(name, Lane(name))


def picture(lines: Iterable[Line]) -> Picture:
    """Read a history into a picture."""
    reader = _Reader()
    for line in lines:
        reader.take(line)
    return reader.over()


class _Reader:
    def __init__(self) -> None:
        self.found = Picture()
        self._last_ns = 0
        self._first_seen_ns: int | None = None
        self._begun = False
        self._phases: dict[str, tuple[str, float]] = {}
        self._open: dict[str, Band] = {}
        self._highest: dict[str, int] = {}
        self._claims = Claims()

    def take(self, line: Line) -> None:
        if not self._begun:
            self._begun, self.found.start_ns = True, line["at_ns"]
        self._last_ns = max(self._last_ns, line["at_ns"])
        at_s = self._s(line["at_ns"])
        match line["kind"]:
            case "run":
                self._claims.promises = line.get("subject", "leaderd") == "leaderd"
            case "poll":
                self._seen(line)
                self._poll(line, at_s)
            case "fault":
                self._open[line["name"]] = band = Band(line["text"], at_s, at_s)
                self.found.bands.append(band)
                self.found.by_hand = self.found.by_hand or bool(line.get("breaks_promises"))
            case "bites" if line["name"] in self._open:
                self._open[line["name"]].verified = line["seen"]
            case "heal" if line["name"] in self._open:
                self._open.pop(line["name"]).end_s = at_s
            case "write":
                self._write(line, at_s)
            case "process":
                self._seen(line)
                self.found.lane(line["pod"]).events.append((at_s, line["what"]))
            case "promise":
                self._claims.promise(line["instance"], line["token"], at_s, self._s(line["until_ns"]))
            case _:
                pass

    def over(self) -> Picture:
        found = self.found
        found.length_s = self._s(self._last_ns) if self._begun else 0.0
        for band in self._open.values():
            band.end_s = found.length_s
        for name in list(self._phases):
            self._phase(found.lane(name), None, found.length_s)
        found.overlaps, found.terms = self._claims.overlaps(), self._claims.terms()
        for term in found.terms:
            if not term.polled:
                found.lane(term.name).stretches.append(Stretch(term.token, term.start_s, term.until_s, term.until_s, polled=False))
        found.lanes = dict(sorted(found.lanes.items(), key=lambda each: natural(each[0])))
        if self._first_seen_ns is not None:
            found.begin_s = max(0.0, self._s(self._first_seen_ns) - 0.5)
        return found

    def _s(self, at_ns: int) -> float:
        return (at_ns - self.found.start_ns) / 1e9

    def _seen(self, line: Line) -> None:
        if self._first_seen_ns is None:
            self._first_seen_ns = line["at_ns"]

    def _write(self, line: Line, at_s: float) -> None:
        resource, token = line["resource"], line["token"]
        stale = token < self._highest.get(resource, token)
        self._highest[resource] = max(token, self._highest.get(resource, token))
        write = Write(at_s, token, resource == "fenced", line["accepted"], stale)
        self.found.lane(line["app"]).writes.append(write)

    def _poll(self, line: Line, at_s: float) -> None:
        lane = self.found.lane(line["instance"])
        if "silent" in line:
            self._phase(lane, SILENT, at_s)
            self._claims.no(lane.name)
            return
        got_s, state = self._s(line["got_ns"]), line.get("state")
        if not line["leader"]:
            self._phase(lane, state if state in SHOWN else None, got_s)
            self._claims.no(lane.name)
            return
        self._phase(lane, SUSPENDED if state == SUSPENDED else None, got_s)
        until_s = self._s(line["until_ns"]) if "until_ns" in line else got_s
        self._claims.yes(lane.name, line["token"], at_s, got_s, until_s)
        last = lane.stretches[-1] if lane.stretches else None
        if last is not None and last.token == line["token"] and got_s - last.last_yes_s <= JOIN_S:
            last.last_yes_s, last.until_s = got_s, max(last.until_s, until_s)
        else:
            lane.stretches.append(Stretch(line["token"], got_s, got_s, max(got_s, until_s)))

    def _phase(self, lane: Lane, what: str | None, at_s: float) -> None:
        before = self._phases.get(lane.name)
        if before is not None and before[0] == what:
            return
        if before is not None:
            word, since_s = self._phases.pop(lane.name)
            if word != SUSPENDED:
                lane.phases.append(Phase(word, since_s, at_s))
            elif lane.stretches:
                lane.stretches[-1].doubts.append((since_s, min(at_s, lane.stretches[-1].until_s)))
        if what is not None:
            self._phases[lane.name] = (what, at_s)


def natural(name: str) -> list[tuple[int, str]]:
    """For sorting: c2 before c10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
