"""Fail-over after SIGKILL: pairs of daemons, one election each; every leader killed at a random phase of its renewals."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from bench.candidates import Candidate
from bench.ground import TICK_S, Bed, Ground
from bench.stats import Figure, percentile, spread

RENEWALS_PER_TTL = 5


def limit(store: str, ttl_s: float) -> tuple[float, str]:
    """What is aimed at, in seconds and in words. Our lock-delay in Consul is the ttl."""
    return {
        "local": (ttl_s + 0.1, "ttl + 0.1"),
        "etcd": (ttl_s + 0.8, "ttl + 0.8"),
        "ZooKeeper": (ttl_s + TICK_S + 0.5, "negotiated timeout + tick + 0.5"),
        "Consul": (2 * ttl_s + ttl_s + 1.0, "2 x ttl + lock-delay + 1"),
    }[store]


def crashes(start: Callable[[str], Candidate], places: list[str], renew_every_s: float) -> list[float]:
    """Seconds from each SIGKILL to the line of the successor; one pair in each place, a store URL."""
    leaders = [start(place) for place in places]
    for leader in leaders:
        leader.wait_led(60.0)
    standbys = [start(place) for place in places]
    for standby in standbys:
        standby.wait_says(b"-> follower", 1, 60.0)
    time.sleep(1.0)
    took_s: list[float] = []

    def crash(leader: Candidate, standby: Candidate) -> None:
        time.sleep(random.uniform(0.0, renew_every_s))
        begun_s = time.monotonic()
        leader.process.kill()
        standby.wait_led(90.0)
        took_s.append(standby.led_at_s - begun_s)

    threads = [threading.Thread(target=crash, args=team) for team in zip(leaders, standbys, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for candidate in (*leaders, *standbys):
        candidate.end()
    if len(took_s) != len(places):
        raise TimeoutError(f"only {len(took_s)} of {len(places)} standbys took over")
    return took_s


def run(ground: Ground) -> list[Figure]:
    """Measure on every store."""
    pairs, rounds = (3, 1) if ground.quick else (8, 4)

    def measure(bed: Bed) -> Figure:
        ttl_s = 2 if bed.store == "local" or (ground.quick and bed.store != "Consul") else 5
        took_s: list[float] = []
        for _ in range(rounds):
            places = [bed.url(ground.name("crash")) for _ in range(pairs)]
            took_s += crashes(lambda place: ground.daemon(place, f"{ttl_s}s"), places, ttl_s / RENEWALS_PER_TTL)
        p99_s = percentile(took_s, 0.99)
        limit_s, rule = limit(bed.store, ttl_s)
        text = f"{p99_s:.2f} s; {spread(took_s, 's')}, n={len(took_s)}"
        title = f"fail-over after SIGKILL, {bed.store}, ttl {ttl_s} s: p99"
        return Figure(title, f"<= {limit_s:g} s = {rule}", text, p99_s <= limit_s, {"took_s": took_s})

    return ground.each_store(measure)
