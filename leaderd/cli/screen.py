"""What `leaderd status --watch` draws: one screen of text for a terminal of any width, from what the daemon said and how long ago.

Pure: the facts, their age and the size come in, lines go out. A lease runs down by the reader's own clock, so a daemon that
has stopped talking is never shown as leading longer than it may.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from leaderd.cli.cells import pause_lines, text

Body = Mapping[str, object]
MIN_WIDTH = 40
LABEL = 9
_LANES = 4
_RANGES_S = (900, 86_400, 30 * 86_400)
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _REVERSE = "1", "2", "31", "32", "33", "7"


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on: columns and rows, and whether it takes colours and block characters."""

    width: int
    height: int
    colour: bool = True
    blocks: bool = True

    def paint(self, text: str, *codes: str) -> str:
        """Text in a colour, where there are colours."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.colour and text else text


@dataclass(frozen=True, slots=True)
class Known:
    """What the daemon said last, how many seconds ago, and what is wrong if it says nothing now."""

    body: Body
    histories: Mapping[str, Sequence[Body]]
    age_s: float
    complaint: str = ""


def screen(known: Known, paper: Paper, wall_s: float) -> list[str]:
    """The whole screen, no line wider than the paper, no more lines than it has rows."""
    elections = _bodies(known.body.get("elections"))
    lines = [_head(known, paper), ""]
    roomy = len(elections) * 7 + 2 <= paper.height
    for each in elections:
        lines += _card(each, known, paper, wall_s) if roomy else _brief(each, known, paper)
    if known.complaint:
        lines[1:1] = [paper.paint(line, _RED) for line in textwrap.wrap(known.complaint, paper.width, break_on_hyphens=False)]
    more = len(lines) - paper.height
    if more > 0:
        lines = [
            *lines[: paper.height - 1],
            _cut(f"and {more + 1} more lines: make the window higher, or name one election", paper.width),
        ]
    return lines


def _head(known: Known, paper: Paper) -> str:
    store = known.body.get("store")
    said = "store unknown"
    colour = _RED
    if isinstance(store, Mapping):
        connected = bool(store.get("connected")) and not known.complaint
        seen = store.get("last_seen_ms")
        ago = f", last answer {_span(seen / 1000 + known.age_s)} ago" if isinstance(seen, int | float) else ", never answered"
        said = (
            f"{text(store.get('kind'))} {'connected' if connected else 'NOT CONNECTED' if not known.complaint else ''}".rstrip()
            + ago
        )
        colour = _GREEN if connected else _RED
    name = f"leaderd on {text(known.body.get('instance'))}"
    room = paper.width - len(name) - 3
    return paper.paint(_cut(name, paper.width), _BOLD) + ("   " + paper.paint(_cut(said, room), colour) if room > 10 else "")


def _card(each: Body, known: Known, paper: Paper, wall_s: float) -> list[str]:
    name, left_s = text(each.get("election")), _left_s(each, known.age_s)
    words, colour = _state(each, left_s)
    lines = [paper.paint(_cut(name, paper.width - len(words) - 2), _BOLD) + "  " + paper.paint(words, colour)]
    lines += [paper.paint(_cut("  " + pause, paper.width), _YELLOW) for pause in pause_lines(each)]
    lines.append(_row("leader", _leader(each, left_s, known.age_s), paper))
    lines += [_row("lease", _bar(each, left_s, paper), paper)] if left_s is not None else []
    lines.append(_row("queue", _queue(each), paper))
    lines += _terms(known.histories.get(name, ()), paper, wall_s)
    return [*lines, ""]


def _brief(each: Body, known: Known, paper: Paper) -> list[str]:
    left_s = _left_s(each, known.age_s)
    words, colour = _state(each, left_s)
    name = _cut(text(each.get("election")), paper.width // 3).ljust(paper.width // 3)
    facts = _cut(_leader(each, left_s, known.age_s), max(0, paper.width - len(name) - len(words) - 4))
    return [
        f"{name}  {paper.paint(words, colour)}  {facts}",
        *(paper.paint(_cut("  " + pause, paper.width), _YELLOW) for pause in pause_lines(each)),
    ]


def _left_s(each: Body, age_s: float) -> float | None:
    """How much of our lease is left now; None when the daemon did not say yes."""
    left_ms = each.get("lease_remaining_ms")
    return max(0.0, left_ms / 1000 - age_s) if each.get("leader") and isinstance(left_ms, int | float) else None


def _state(each: Body, left_s: float | None) -> tuple[str, str]:
    state = text(each.get("state"))
    if left_s is not None:
        if left_s <= 0:
            return "lease ran out", _RED
        return ("leads here, store silent", _YELLOW) if state == "suspended" else ("leads here", _GREEN)
    reason = text(each.get("reason"))
    plain = reason in {"-", "other_leader", "in_queue", state}
    words = "follows here" if state == "follower" else state
    return (words if plain else f"{words} ({reason})"), (_DIM if state == "follower" and plain else _YELLOW)


def _leader(each: Body, left_s: float | None, age_s: float) -> str:
    leading = next((one for one in _bodies(each.get("candidates")) if one.get("leader")), {})
    name = text(each.get("leader_instance"))
    if name == "-" or left_s == 0.0:
        return "nobody, or not known"
    token = each.get("token") if each.get("token") is not None else leading.get("token")
    here = " (this instance)" if left_s is not None else ""
    return f"{name}{here}   token {text(token)}"


def _bar(each: Body, left_s: float, paper: Paper) -> str:
    timing = each.get("timing")
    most = timing.get("valid_for_max_s") if isinstance(timing, Mapping) else None
    most_s = max(float(most), left_s, 0.001) if isinstance(most, int | float) else max(left_s, 1.0)
    words = f" {left_s:.1f} s of {most_s:.1f} s"
    width = max(5, min(50, paper.width - LABEL - 2 - len(words)))
    share = left_s / most_s
    full = round(share * width)
    solid, empty = ("\u2588", "\u2591") if paper.blocks else ("#", ".")
    return paper.paint(solid * full, _GREEN if share > 0.4 else _YELLOW if share > 0.15 else _RED) + empty * (width - full) + words


def _queue(each: Body) -> str:
    found = [
        f"{place} {text(one.get('instance'))}{'*' if one.get('own') else ''}"
        for place, one in enumerate(_bodies(each.get("candidates")), 1)
    ]
    return (
        "   ".join(found) + ("   (* this instance)" if any(one.endswith("*") for one in found) else "") if found else "nobody seen"
    )


# ---- the last terms, a lane for each leader


@dataclass(frozen=True, slots=True)
class _Term:
    leader: str
    token: str
    from_s: float
    to_s: float


def _terms(history: Sequence[Body], paper: Paper, wall_s: float) -> list[str]:
    terms = [term for each in history if (term := _term(each, wall_s)) is not None]
    width = paper.width - LABEL - 2
    if not terms or width < 20:
        return []
    terms.sort(key=lambda term: term.from_s)
    since_s = terms[max(0, len(terms) - 6)].from_s
    range_s = next((each for each in _RANGES_S if wall_s - since_s <= each), max(1.0, wall_s - since_s))
    start_s = wall_s - range_s
    shown = [term for term in terms if term.to_s >= start_s]
    lanes = sorted(list(dict.fromkeys(term.leader for term in reversed(shown)))[:_LANES])
    label = min(max(len(lane) for lane in lanes), width // 3) if lanes else 0
    track = width - label - 1

    def column(at_s: float) -> int:
        return min(track - 1, max(0, int((at_s - start_s) / range_s * track)))

    lines = []
    for number, lane in enumerate(lanes):
        drawn = _lane([term for term in shown if term.leader == lane], track, column, paper)
        lines.append(_row("terms" if number == 0 else "", f"{_cut(lane, label).ljust(label)} {drawn}", paper))
    past = f"{_span(range_s)} ago"
    return [*lines, _row("", " " * (label + 1) + past + "now".rjust(max(4, track - len(past))), paper)]


def _lane(terms: Sequence[_Term], track: int, column: Callable[[float], int], paper: Paper) -> str:
    cells = ["\u00b7" if paper.blocks else "."] * track
    owner = [-1] * track
    for number, term in enumerate(terms):
        first, last = column(term.from_s), column(term.to_s)
        for place in range(first, last + 1):
            cells[place], owner[place] = ("\u2584" if paper.blocks else "="), number
        if last - first + 1 >= len(term.token) + 2:
            cells[first + 1 : first + 1 + len(term.token)] = list(term.token)
        elif paper.blocks:
            cells[first] = "\u258c"  # so that a short term right behind another is seen as one of its own
    found, place = "", 0
    while place < track:
        end = next((other for other in range(place, track) if owner[other] != owner[place]), track)
        part = "".join(cells[place:end])
        found += paper.paint(part, _GREEN) if owner[place] >= 0 else paper.paint(part, _DIM)
        place = end
    return found


def _term(each: Body, wall_s: float) -> _Term | None:
    started, ended = _instant(each.get("started_at")), _instant(each.get("ended_at"))
    if started is None:
        return None
    return _Term(text(each.get("leader")), text(each.get("token")), started, wall_s if ended is None else ended)


def _instant(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None


# ---- small things


def _row(label: str, words: str, paper: Paper) -> str:
    return (
        "  "
        + paper.paint(label.ljust(LABEL - 2), _DIM)
        + "  "
        + (words if "\x1b" in words else _cut(words, paper.width - LABEL - 2))
    )


def _bodies(value: object) -> list[Body]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else words[: max(0, width - 3)] + "..."[: max(0, width)]


def _span(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"
