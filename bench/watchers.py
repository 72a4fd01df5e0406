"""How soon a change is seen: by watchers of each kind in processes of their own, and by 1,000 subscribers; and what those weigh.

From the instant at which the leader's runner publishes the change, by its own journal (`bench/published.py`), to the receipt of the
first message that tells of it or of a later one; both on CLOCK_BOOTTIME of one kernel.
"""

from __future__ import annotations

import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from bench import process
from bench.changes import stir
from bench.ground import Bed, Ground
from bench.published import changes
from bench.stats import Figure, flat, percentile, spread
from bench.watcher import ELECTION

SEEN_MS = 10.0
EACH = 3
"""Watchers of each kind."""
CROWD = 1000
CROWD_SEEN_MS = 100.0
CROWD_MIB = 40.0
STUCK = 100
_READERS = 2
"""Processes that the crowd is in."""
_REST_S = 0.1
_CROWD_REST_S = 0.15
_SETTLE_S = 2.0
KINDS = {"sse": "SSE", "grpc": "gRPC `WatchElection`", "blocking": "blocking reads"}
Receipts = dict[int, list[tuple[int, int]]]
"""By number of the watcher: index and instant of each message."""


class Watching:
    """One watching process (`bench/watcher.py`)."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.watcher", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> None:
        """Wait until it watches."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise ValueError("a watcher ended before it had begun")

    def end(self) -> Receipts:
        """End it; what it has received."""
        found: Receipts = {}
        for line in self._process.communicate(timeout=60.0)[0].splitlines():
            number, index, at_ns = map(int, line.split())
            found.setdefault(number, []).append((index, at_ns))
        return found


def delays_ms(published: Sequence[tuple[int, int]], receipts: Sequence[tuple[int, int]], since: int) -> list[float]:
    """How late each change after index `since` was received by one watcher. Raises `ValueError` for one that never was."""
    indices = [index for index, _ in receipts]
    found = []
    for index, at_ns in published:
        if index > since:
            place = bisect_left(indices, index)
            if place == len(receipts):
                raise ValueError(f"change {index} was never received")
            found.append((receipts[place][1] - at_ns) / 1e6)
    return found


def few(ground: Ground, bed: Bed, rounds: int) -> list[Figure]:
    """Some watchers of each kind; one kind after the other, so that a figure is of that kind, and not of nine processes at once."""
    url, journal = bed.url("watchers"), ground.folder / "watchers.journal"
    watched = other = ground.daemon(url, grpc=True, journal=journal)
    try:
        watched.wait_led(30.0)
        other = ground.daemon(url)
        other.wait_says(b"-> follower", 1, 30.0)
        assert watched.socket is not None
        http, grpc = f"unix:{watched.socket}", f"unix:{watched.socket.parent / 'grpc.sock'}"
        addresses = {"sse": [http, "1"], "grpc": [grpc], "blocking": [http]}
        found = []
        for kind, title in KINDS.items():
            watching = [Watching(kind, *addresses[kind]) for _ in range(EACH)]
            for each in watching:
                each.wait_ready()
            since = _last_index(journal)
            time.sleep(_SETTLE_S)
            stir(watched, other, rounds, _REST_S)
            time.sleep(_SETTLE_S)
            published = changes(journal, ELECTION)
            ms = flat(delays_ms(published, each.end()[0], since) for each in watching)
            found.append(_seen(f"change seen by {title}, p99", ms, SEEN_MS, f"{EACH} watchers"))
        return found
    finally:
        watched.end()
        other.end()


def crowd(ground: Ground, bed: Bed, rounds: int, stuck: int) -> list[Figure]:
    """All the subscribers that there may be, of which some do not read."""
    url, journal = bed.url(f"crowd-{stuck}"), ground.folder / f"crowd-{stuck}.journal"
    watched = other = ground.daemon(url, journal=journal)
    try:
        watched.wait_led(30.0)
        other = ground.daemon(url)
        other.wait_says(b"-> follower", 1, 30.0)
        time.sleep(_SETTLE_S)
        before_mib = process.size(watched.pid).rss_mib
        process.forget_peak(watched.pid)
        share = str((CROWD - stuck) // _READERS)
        readers = [Watching("sse", f"unix:{watched.socket}", share) for _ in range(_READERS)]
        idle = [Watching("stuck", f"unix:{watched.socket}", str(stuck))] if stuck else []
        for each in (*readers, *idle):
            each.wait_ready()
        since = _last_index(journal)
        stir(watched, other, rounds, _CROWD_REST_S)
        time.sleep(_SETTLE_S)
        published = changes(journal, ELECTION)  # what comes when it ends is not watched any more
        peak_mib = process.peak_mib(watched.pid)
        receipts = flat(each.end().values() for each in readers)
        left = [event[0] for each in idle for events in each.end().values() for event in events]
    finally:
        watched.end()
        other.end()
    passed_over = sum(events < len([1 for index, _ in published if index > since]) for events in left)
    if passed_over < stuck:
        raise ValueError(f"only {passed_over} of {stuck} subscribers were stuck: more rounds are needed")
    who = f"{CROWD:,} SSE subscribers" + (f", {stuck} of whom do not read" if stuck else "")
    ms = flat(delays_ms(published, each, since) for each in receipts)
    grown_mib = peak_mib - before_mib
    text = f"{grown_mib:.1f} MiB at most, from {before_mib:.1f} to {peak_mib:.1f} MiB RSS"
    values: dict[str, float | list[float]] = {"before_mib": before_mib, "peak_mib": peak_mib}
    return [
        _seen(f"change seen by {who}, p99", ms, CROWD_SEEN_MS, "those who read" if stuck else "all"),
        Figure(f"memory that {who}, add to the daemon", f"<= {CROWD_MIB:g} MiB", text, grown_mib <= CROWD_MIB, values),
    ]


def _last_index(journal: Path) -> int:
    return max(index for index, _ in changes(journal, ELECTION))


def _seen(name: str, ms: list[float], goal_ms: float, whom: str) -> Figure:
    p99_ms = percentile(ms, 0.99)
    text = f"{p99_ms:.1f} ms; {spread(ms, 'ms')}, {len(ms):,} receipts by {whom}"
    values: dict[str, float | list[float]] = {f"p{share:g}_ms": percentile(ms, share / 100) for share in (50, 90, 99, 99.9, 100)}
    return Figure(name, f"<= {goal_ms:g} ms", text, p99_ms <= goal_ms, values)


def run(ground: Ground) -> list[Figure]:
    """Measure beside daemons on the local store: the store makes no difference here."""
    rounds = 5 if ground.quick else 50
    crowded = 40 if ground.quick else 60
    with ground.bed("local") as bed:
        return [*few(ground, bed, rounds), *crowd(ground, bed, crowded, 0), *crowd(ground, bed, crowded, STUCK)]
