"""Fail-over after SIGKILL: pairs of daemons, one election each; every leader killed at a random phase of its renewals."""

from __future__ import annotations

import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import candidates
from bench.candidates import Candidate
from bench.stats import Figure, median, percentile
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster

TICK_S = 0.5


def crashes(start: Callable[[int], Candidate], pairs: int, renew_every_s: float) -> list[float]:
    """Seconds from each SIGKILL to the line of the successor; `start(i)` starts a candidate of election i."""
    teams = []
    for number in range(pairs):
        leader = start(number)
        leader.wait_led(30.0)
        teams.append((leader, start(number)))
    time.sleep(2.0)
    took_s: list[float] = []

    def crash(leader: Candidate, standby: Candidate) -> None:
        time.sleep(random.uniform(0.0, renew_every_s))
        begun_s = time.monotonic()
        leader.process.kill()
        standby.wait_led(90.0)
        took_s.append(standby.led_at_s - begun_s)

    threads = [threading.Thread(target=crash, args=team) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for candidate in itertools.chain.from_iterable(teams):
        candidate.end()
    return took_s


def run(quick: bool) -> list[Figure]:
    """Measure on every store."""
    pairs, rounds = (3, 1) if quick else (8, 3)
    figures = []
    with tempfile.TemporaryDirectory(prefix="ld-bench-") as name:
        folder = Path(name)
        numbers = itertools.count()

        def measure(store: str, url: str, ttl_s: int, limit_s: float, rule: str) -> None:
            took_s: list[float] = []
            for _ in range(rounds):
                place = next(numbers)

                def start(number: int, place: int = place) -> Candidate:
                    glue = "-" if url.startswith("local") else "/"
                    return candidates.leaderd(f"{url}{glue}{place}-{number}", f"pod-{next(numbers)}", folder, f"{ttl_s}s")

                took_s += crashes(start, pairs, ttl_s / 5)
            p99_s = percentile(took_s, 0.99)
            text = f"{p99_s:.2f} s (median {median(took_s):.2f}, min {min(took_s):.2f}, n={len(took_s)})"
            goal = f"<= {limit_s:g} s = {rule}"
            figures.append(Figure(f"fail-over after SIGKILL, {store}, ttl {ttl_s} s: p99", goal, text, p99_s <= limit_s))

        measure("local", f"local://{folder}/store", 2, 2.1, "ttl + 0.1")
        with EtcdCluster(nodes=1, version="3.5") as etcd:
            measure("etcd", etcd.url("f"), 5, 5.8, "ttl + 0.8")
        with ZooKeeperCluster(nodes=1, version="3.9", tick_time_ms=round(TICK_S * 1000)) as zk:
            measure("ZooKeeper", zk.url("f"), 5, 6.0, "negotiated timeout + tick + 0.5")
        with ConsulCluster(nodes=1, session_ttl_min="2s") as consul:
            measure("Consul", consul.url("f"), 5, 16.0, "2 x ttl + lock-delay + 1")
    return figures
