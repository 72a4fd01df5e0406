"""Hand-over after SIGTERM, ours and the peers' in turn: from the signal to the line in which the successor says that it leads."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

from bench import candidates
from bench.candidates import Candidate
from bench.ground import STORES, Bed, Ground, present
from bench.stats import Figure, flat, median, percentile, ratios, spread, spread_ms
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster
from testbed.fetch import installed

SETTLE_S = 1.2
"""So that the standby is in the queue and the machine is quiet: both sides start from cold connections."""
PEERS = {"etcd": ("etcdctl lock", 1.0), "ZooKeeper": ("kazoo Election", 1.0), "Consul": ("consul lock", 0.8)}
Start = Callable[[], Candidate]


def chain(start: Start, count: int, before: Callable[[Candidate], None] = lambda leader: None) -> list[float]:
    """`count` hand-overs in a row, each begun with `before(leader)`; seconds each."""
    took_s = []
    leader = start()
    leader.wait_led(30.0)
    standby = start()
    try:
        for _ in range(count):
            time.sleep(SETTLE_S)
            before(leader)
            begun_s = time.monotonic()
            leader.process.send_signal(signal.SIGTERM)
            standby.wait_led(60.0)
            took_s.append(standby.led_at_s - begun_s)
            leader.leave()
            leader, standby = standby, start()
    finally:
        leader.end()
        standby.end()
    return took_s


def alternate(ours: Start, peer: Start | None, rounds: int, count: int) -> tuple[list[list[float]], list[list[float]]]:
    """Chains of ours and of the peer's in turn; who goes first changes from round to round."""
    mine: list[list[float]] = []
    theirs: list[list[float]] = []
    for number in range(rounds):
        turns = [(ours, mine)] + ([(peer, theirs)] if peer is not None else [])
        for start, into in turns if number % 2 == 0 else reversed(turns):
            into.append(chain(start, count))
    return mine, theirs


def peer_of(bed: Bed) -> Start | None:
    """How to start the peer of this store."""
    servers = bed.servers
    match servers:
        case EtcdCluster():
            program = installed("etcd", "3.5").programs["etcdctl"]
            return lambda: candidates.etcdctl_lock(program, servers.endpoints)
        case ZooKeeperCluster():
            hosts = ",".join(servers.endpoints)
            return lambda: candidates.kazoo_election(hosts)
        case ConsulCluster():
            program = installed("consul").programs["consul"]
            address = servers.endpoints[0]
            return lambda: candidates.consul_lock(program, address)
    return None


def run(ground: Ground) -> list[Figure]:
    """Measure on every store, one after the other however quick: they would disturb each other."""
    rounds, count = (1, 4) if ground.quick else (4, 10)
    figures = []
    for store in present(STORES):
        with ground.bed(store) as bed:
            url = bed.url("handover")
            got = alternate(partial(ground.daemon, url), peer_of(bed), rounds, count)
            figures += _figures(store, *got)
    return figures


def _figures(store: str, ours: list[list[float]], theirs: list[list[float]]) -> list[Figure]:
    mine = flat(ours)
    p99_ms = percentile(mine, 0.99) * 1e3
    name = f"hand-over after SIGTERM, {store}"
    text = f"{p99_ms:.1f} ms; {spread_ms(mine)}"
    found = [Figure(f"{name}: p99", "<= 100 ms", text, p99_ms <= 100.0, {"took_s": mine})]
    if theirs:
        peer, goal = PEERS[store]
        other = flat(theirs)
        each = ratios(ours, theirs)
        text = f"{spread(each, '')} in {len(each)} rounds; the peer: {spread_ms(other)}"
        title = f"the same as a ratio to `{peer}`, medians"
        found.append(Figure(title, f"<= {goal:g}", text, median(each) <= goal, {"ratios": each, "peer_took_s": other}))
    return found
