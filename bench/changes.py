"""Changes on demand: two daemons whose operator resigns, pauses and cordons, again and again."""

from __future__ import annotations

import time

from bench.candidates import Candidate

_OPERATE = "/v1/elections/jobs-0"


def stir(watched: Candidate, other: Candidate, rounds: int, rest_s: float) -> None:
    """In each round the leader resigns, all are paused and go on, the watched one is cordoned and stands again; with rests."""
    for _ in range(rounds):
        if watched.call("POST", f"{_OPERATE}/resign")[0] != 200:
            other.call("POST", f"{_OPERATE}/resign")
        time.sleep(rest_s)
        for path in ("pause", "candidacy"):
            begin, end = ("PUT", "DELETE") if path == "pause" else ("DELETE", "PUT")
            for method in (begin, end):
                status, said = watched.call(method, f"{_OPERATE}/{path}")
                if status != 200:
                    raise ValueError(f"{method} {path} was refused: {said}")
                time.sleep(rest_s)
