"""What a daemon asks of its store while nothing happens, counted on the wire, and beside that what the store has counted itself."""

from __future__ import annotations

import re
import time
import urllib.request
from contextlib import ExitStack

from bench.counting import CountingProxy
from bench.ground import Bed, Ground
from bench.stats import Figure, flat
from testbed import EtcdCluster, ZooKeeperCluster

TTL_S, PERIOD_S = 10, 2.0
MANY = 20
LIMITS = {"leader": 3, "follower": 2}


def counted_by(bed: Bed) -> int | None:
    """Messages received so far as the store's own metrics have it; None where it keeps no such count."""
    servers = bed.servers
    if isinstance(servers, EtcdCluster):
        with urllib.request.urlopen(f"http://{servers.endpoints[0]}/metrics", timeout=5.0) as reply:
            text = reply.read().decode()
        return sum(int(float(n)) for n in re.findall(r"^grpc_server_msg_received_total\{[^}]*\} (\S+)", text, re.MULTILINE))
    if isinstance(servers, ZooKeeperCluster):
        return int(servers.mntr(0)["zk_packets_received"])
    return None


def measure(ground: Ground, bed: Bed, elections: int, watch_s: float) -> Figure:
    """Requests per renewal period of a leader of `elections` elections and of a follower in all of them."""
    url = bed.url(f"requests-{elections}")
    target = re.search(r"://([^/:]+):(\d+)", url)
    assert target is not None
    with ExitStack() as stack:
        proxies = {}
        for role in LIMITS:
            proxy = proxies[role] = CountingProxy(bed.store, target.group(1), int(target.group(2)))
            stack.callback(proxy.stop)
            daemon = ground.daemon(url.replace(target.group(), f"://127.0.0.1:{proxy.port}"), f"{TTL_S}s", elections)
            stack.callback(daemon.end)
            daemon.wait_says(b"-> leader" if role == "leader" else b"-> follower", elections, 30.0)
        time.sleep(5.0)
        before, store_before = {role: proxies[role].requests for role in LIMITS}, counted_by(bed)
        time.sleep(watch_s)
        counts, store_after = {role: proxies[role].requests - before[role] for role in LIMITS}, counted_by(bed)
    rates = {role: count / (watch_s / PERIOD_S) for role, count in counts.items()}
    text = ", ".join(f"{role} {rate:.2f}" for role, rate in rates.items())
    if store_before is not None and store_after is not None:
        text += f"; in all {sum(counts.values())}, by the store's own count {store_after - store_before}"
        text += " (with pings)" if bed.store == "ZooKeeper" else ""
    title = f"requests per renewal period, {bed.store}, {elections} election{'s' * (elections > 1)}"
    edge = PERIOD_S / watch_s  # a period more or less falls into the window
    met = all(rates[role] <= limit * (1 + edge) for role, limit in LIMITS.items())
    goal = ", ".join(f"{role} <= {limit}" for role, limit in LIMITS.items())
    return Figure(title, goal, text, met, {**rates})


def run(ground: Ground) -> list[Figure]:
    """Measure on every store that has a wire."""
    watch_s = 20.0 if ground.quick else 60.0
    numbers = (MANY,) if ground.quick else (1, MANY)
    stores = ("etcd", "ZooKeeper", "Consul")
    return flat(ground.each_store(lambda bed: [measure(ground, bed, number, watch_s) for number in numbers], stores))
