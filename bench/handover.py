"""Hand-over after SIGTERM, ours and the peers' in turn: from the signal to the line in which the successor says that it leads."""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import candidates
from bench.candidates import Candidate
from bench.stats import Figure, median, percentile, spread_ms
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster
from testbed.fetch import installed

SETTLE_S = 0.8
"""So that the standby is in the queue and the machine is quiet: both sides start from cold connections."""


def chain(start: Callable[[], Candidate], count: int) -> list[float]:
    """`count` hand-overs in a row; seconds each."""
    took_s = []
    leader = start()
    leader.wait_led(30.0)
    standby = start()
    try:
        for _ in range(count):
            time.sleep(SETTLE_S)
            begun_s = time.monotonic()
            leader.process.send_signal(signal.SIGTERM)
            standby.wait_led(60.0)
            took_s.append(standby.led_at_s - begun_s)
            leader.end()
            leader, standby = standby, start()
    finally:
        leader.end()
        standby.end()
    return took_s


def compare(
    ours: Callable[[], Candidate], peer: Callable[[], Candidate] | None, rounds: int, count: int
) -> tuple[list[float], list[float], list[float]]:
    """Alternate; all of ours, all of the peer's, and the ratio of the medians round by round."""
    all_ours: list[float] = []
    all_peers: list[float] = []
    ratios = []
    for _ in range(rounds):
        mine = chain(ours, count)
        all_ours += mine
        if peer is not None:
            theirs = chain(peer, count)
            all_peers += theirs
            ratios.append(median(mine) / median(theirs))
    return all_ours, all_peers, ratios


def run(quick: bool) -> list[Figure]:
    """Measure on every store."""
    rounds, count = (1, 4) if quick else (4, 8)
    figures = []
    with tempfile.TemporaryDirectory(prefix="ld-bench-") as name:
        folder = Path(name)
        numbers = itertools.count()

        def ours(url: str, ttl: str) -> Callable[[], Candidate]:
            return lambda: candidates.leaderd(url, f"pod-{next(numbers)}", folder, ttl)

        local = compare(ours(f"local://{folder}/store", "10s"), None, rounds, count)
        figures += _figures("local", local, None, None)
        with EtcdCluster(nodes=1, version="3.5") as etcd:
            program = installed("etcd", "3.5").programs["etcdctl"]
            got = compare(ours(etcd.url("b"), "10s"), lambda: candidates.etcdctl_lock(program, etcd.endpoints), rounds, count)
            figures += _figures("etcd", got, "etcdctl lock", 1.0)
        with ZooKeeperCluster(nodes=1, version="3.9") as zk:
            hosts = ",".join(zk.endpoints)
            got = compare(ours(zk.url("b"), "10s"), lambda: candidates.kazoo_election(hosts), rounds, count)
            figures += _figures("ZooKeeper", got, "kazoo Election", 1.0)
        with ConsulCluster(nodes=1) as consul:
            program = installed("consul").programs["consul"]
            address = consul.endpoints[0]
            got = compare(ours(consul.url("b"), "10s"), lambda: candidates.consul_lock(program, address), rounds, count)
            figures += _figures("Consul", got, "consul lock", 0.8)
    return figures


def _figures(store: str, got: tuple[list[float], list[float], list[float]], peer: str | None, goal: float | None) -> list[Figure]:
    mine, theirs, ratios = got
    p99_ms = percentile(mine, 0.99) * 1e3
    name = f"hand-over after SIGTERM, no promise outstanding, {store}"
    found = [Figure(f"{name}: p99", "<= 100 ms", f"{p99_ms:.1f} ms; {spread_ms(mine)}", p99_ms <= 100.0)]
    if peer is not None and goal is not None:
        ratio = median(ratios)
        text = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}, {len(ratios)} rounds); {peer}: {spread_ms(theirs)}"
        found.append(Figure(f"the same against `{peer}`: ratio of medians", f"<= {goal:g}", text, ratio <= goal))
    return found
