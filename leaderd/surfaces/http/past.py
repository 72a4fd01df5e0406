"""Looking back: the last terms of an election, and why it is, or is not, led from here. For programs, and for people as text."""

from __future__ import annotations

from collections.abc import Iterable

from leaderd.election.history import TermRecord
from leaderd.journal import Entry, Why
from leaderd.surfaces.http.reply import JSON, TEXT, Response, encode_json
from leaderd.surfaces.http.wire import Request
from leaderd.surfaces.view import Body, clean, rfc3339

_VARY = b"Vary: Accept\r\n"


def history(name: str, terms: Iterable[TermRecord]) -> Response:
    """The terms, newest first."""
    return Response(200, encode_json({"election": name, "terms": [_term(term) for term in terms]}))


def why(found: Why, request: Request) -> Response:
    """The summary and what led to it, oldest first; as text for who prefers that (`Accept: text/plain`)."""
    accept = request.headers.get("accept", "")
    if "text/plain" in accept and "json" not in accept:
        lines = [found.summary, *(f"  {_time(entry)}  {entry.text}{_times(entry)}" for entry in found.entries)]
        return Response(200, ("\n".join(_one_line(line) for line in lines) + "\n").encode("utf-8", "replace"), TEXT, _VARY)
    body = {"election": found.election, "summary": found.summary, "entries": [_entry(entry) for entry in found.entries]}
    return Response(200, encode_json(body), JSON, _VARY)


def _term(term: TermRecord) -> Body:
    return {
        "token": term.token,
        "leader": clean(term.leader),
        "started_at": rfc3339(round(term.started_at_s)),
        "ended_at": None if term.ended_at_s is None else rfc3339(round(term.ended_at_s)),
        "reason": term.reason,
    }


def _entry(entry: Entry) -> Body:
    return {
        "at": rfc3339(int(entry.at_s)),
        "kind": entry.kind,
        "text": entry.text,
        "token": entry.token,
        "times": entry.times,
        "last_at": rfc3339(int(entry.last_s)) if entry.times > 1 else None,
    }


def _time(entry: Entry) -> str:
    return rfc3339(int(entry.at_s))


def _times(entry: Entry) -> str:
    return f" (x{entry.times}, last at {rfc3339(int(entry.last_s))})" if entry.times > 1 else ""


def _one_line(line: str) -> str:
    # Details come from stores and peers: nothing in them may move a terminal's cursor.
    return line if line.isprintable() else ascii(line)[1:-1]
