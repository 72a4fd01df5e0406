"""A run as its history tells it: what was claimed, promised, written, broken and healed. Whoever judges looks at this alone.

A claim's holder is one life of one process, `c1#4711`: the instance, and what tells this daemon from the one before it. Where a
source cannot tell lives apart (an older history, a cluster of somebody's own) it is the instance alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chaos.checkers.ends import End
from chaos.checkers.fence import Write
from chaos.checkers.history import Claim, Window
from chaos.checkers.honest import Answer
from chaos.history import Line, lines


@dataclass
class Run:
    """Times in seconds on CLOCK_BOOTTIME."""

    facts: Line
    claims: list[Claim] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    unfenced: list[Write] = field(default_factory=list)
    faults: list[Line] = field(default_factory=list)
    bitten: set[str] = field(default_factory=set)
    heals: list[Line] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """The faults that a probe has shown to be over."""
    changes: list[float] = field(default_factory=list)
    """When a fault was injected, or healed."""
    missed: list[Line] = field(default_factory=list)
    errors: list[Line] = field(default_factory=list)
    """What the daemons' logs call errors."""
    ends: list[End] = field(default_factory=list)
    """How the daemons' processes ended."""
    began_s: float = 0.0
    """When everybody was up."""
    healed_s: float | None = None
    answers: list[Answer] = field(default_factory=list)
    spoke: set[str] = field(default_factory=set)
    """The lives that ever answered."""
    promises: list[Claim] = field(default_factory=list)
    """By the daemons' own journals: everything that was promised to anybody."""
    ended: bool = False
    sessions: Line | None = None
    """How many sessions the store kept at the end, and how many daemons ran."""
    last_yes: dict[str, Claim] = field(default_factory=dict)
    """By instance that promises nothing: what its answers enclose so far."""

    @property
    def subject(self) -> str:
        """Who was put to the test."""
        return str(self.facts.get("subject", "leaderd"))

    def healing(self, name: str, after_s: float) -> Window:
        """When the fault of that name, in force at `after_s`, began to be healed, and was; infinity if it never was."""
        for line in self.heals:
            if line["name"] == name and line["at_ns"] / 1e9 >= after_s:
                return Window(begun_s(line), line["at_ns"] / 1e9)
        return Window(float("inf"), float("inf"))


def read(folder: Path) -> Run:
    """The run of a folder. Raises `OSError` and `ValueError` for a folder that holds none."""
    every = iter(lines(folder))
    first = next(every, None)
    if first is None or first["kind"] != "run":
        raise ValueError(f"{folder} holds no run: its history does not begin with the line `run`")
    run = Run(first)
    for line in every:
        _take(run, line)
    _name_alike(run)
    return run


def begun_s(line: Line) -> float:
    """When what a line tells of was begun; where it does not say, when it was done."""
    return float(line["from_ns"] if "from_ns" in line else line["at_ns"]) / 1e9


def instance(holder: str) -> str:
    """The instance that a life is one of."""
    return holder.partition("#")[0]


def _holder(line: Line) -> str:
    return f"{line['instance']}#{line['life']}" if line.get("life") else str(line["instance"])


def _name_alike(run: Run) -> None:
    """Where one source tells the lives of an instance apart and the other does not, neither does."""
    plain = {holder for claim in (*run.claims, *run.promises) if "#" not in (holder := claim.holder)}
    plain |= {answer.holder for answer in run.answers if answer.leader and "#" not in answer.holder}

    def known(holder: str) -> str:
        return instance(holder) if instance(holder) in plain else holder

    run.claims = [claim._replace(holder=known(claim.holder)) for claim in run.claims]
    run.promises = [claim._replace(holder=known(claim.holder)) for claim in run.promises]
    run.answers = [answer._replace(holder=known(answer.holder)) for answer in run.answers]


def _take(run: Run, line: Line) -> None:
    at_s = line["at_ns"] / 1e9
    match line["kind"]:
        case "poll" if run.subject != "leaderd":
            _take_unpromised(run, line)
        case "poll" if "got_ns" in line:
            _take_answer(run, line)
        case "write":
            write = Write(at_s, "jobs", line["app"], line["token"], line["accepted"])
            (run.writes if line["resource"] == "fenced" else run.unfenced).append(write)
        case "promise" if line["election"] == "jobs":
            run.promises.append(Claim("jobs", _holder(line), line["token"], at_s, line["until_ns"] / 1e9))
        case "fault":
            run.faults.append(line)
            run.changes.append(at_s)
        case "heal":
            run.heals.append(line)
            run.changes.append(at_s)
        case "bites":
            run.bitten.add(line["name"])
        case "gone":
            run.gone.add(line["name"])
        case _:
            _take_of_the_run(run, line)


def _take_of_the_run(run: Run, line: Line) -> None:
    at_s = line["at_ns"] / 1e9
    match line["kind"]:
        case "missed":
            run.missed.append(line)
        case "error":
            run.errors.append(line)
        case "exit":
            run.ends.append(End(line["pod"], str(line["life"]), at_s, line["code"], tuple(line["asked"])))
        case "sessions":
            run.sessions = line
        case "step" if line["text"] == "the run begins":
            run.began_s = at_s
        case "step" if line["text"] == "everything is healed":
            run.healed_s = at_s
        case "end":
            run.ended = True
        case _:
            pass


def _take_answer(run: Run, line: Line) -> None:
    run.answers.append(_answer(line))
    run.spoke.add(_holder(line))
    if not line["leader"]:
        return
    claim = Claim("jobs", _holder(line), line["token"], line["got_ns"] / 1e9, line["until_ns"] / 1e9)
    # An answer whose promise had lapsed before it arrived still was a yes at some instant after the question.
    run.claims.append(claim if claim.end_s >= claim.start_s else claim._replace(start_s=claim.end_s))


def _answer(line: Line) -> Answer:
    token, until_ns = line.get("token"), line.get("until_ns")
    until_s = None if until_ns is None else until_ns / 1e9
    state = str(line.get("state") or "")
    most_ns = line.get("until_most_ns")
    most_s = None if most_ns is None else most_ns / 1e9
    return Answer(_holder(line), line["at_ns"] / 1e9, line["got_ns"] / 1e9, bool(line["leader"]), state, token, until_s, most_s)


def _take_unpromised(run: Run, line: Line) -> None:
    """Between two yeses of one process it surely claimed all the time: from the receipt of one to the asking of the other."""
    name, asked_s = line["instance"], line["at_ns"] / 1e9
    before = run.last_yes.pop(name, None)
    if not line.get("leader"):
        return
    got_s = line["got_ns"] / 1e9
    if before is not None and before.token == line["token"] and asked_s > before.start_s:
        run.claims.append(before._replace(end_s=asked_s))
        run.last_yes[name] = before._replace(start_s=min(before.end_s, asked_s), end_s=got_s)
    else:
        run.last_yes[name] = Claim("jobs", name, line["token"], got_s, got_s)
