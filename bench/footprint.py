"""What a daemon costs while it waits: memory, processor, wake-ups, and requests to the store."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import candidates
from bench.candidates import Candidate
from bench.counting import CountingProxy
from bench.stats import Figure
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster

TTL_S = 10
PERIOD_S = 2.0


def status(pid: int, field: str) -> int:
    """A number of /proc/PID/status."""
    found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0


def switches(pid: int) -> int:
    """How often all threads of the process went to sleep so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)
        total += int(found.group(1)) if found else 0
    return total


def cpu_s(pid: int) -> float:
    """Processor seconds used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(store: str, url: str, folder: Path, numbers: itertools.count[int], watch_s: float) -> list[Figure]:
    """A leader and a follower at rest for `watch_s` seconds."""
    leader = candidates.leaderd(url, f"pod-{next(numbers)}", folder, f"{TTL_S}s", listen=True)
    leader.wait_led(30.0)
    follower = candidates.leaderd(url, f"pod-{next(numbers)}", folder, f"{TTL_S}s", listen=True)
    time.sleep(3.0)
    try:
        before = {c.process.pid: (cpu_s(c.process.pid), switches(c.process.pid)) for c in (leader, follower)}
        time.sleep(watch_s)
        shares = []
        texts = []
        for name, candidate in (("leader", leader), ("follower", follower)):
            pid = candidate.process.pid
            share = (cpu_s(pid) - before[pid][0]) / watch_s * 100
            shares.append(share)
            texts.append(f"{name} {share:.2f} % ({(switches(pid) - before[pid][1]) / watch_s:.1f} wake-ups/s)")
        pid = follower.process.pid
        rss_mib = status(pid, "VmRSS") / 1024
        limit_mib = 60 if store == "etcd" else 45
        memory = f"{rss_mib:.1f} MiB, {status(pid, 'Threads')} threads"
        return [
            Figure(f"resident memory, idle, {store}", f"<= {limit_mib} MiB", memory, rss_mib <= limit_mib),
            Figure(f"processor, idle, {store}", "<= 0.5 % of a core", "; ".join(texts), max(shares) <= 0.5),
        ]
    finally:
        leader.end()
        follower.end()


def requests(store: str, url: str, folder: Path, numbers: itertools.count[int], elections: int, watch_s: float) -> Figure:
    """Requests per renewal period of a leader and a follower in `elections` elections, counted on the wire."""
    counts = {}
    running: list[tuple[Candidate, CountingProxy]] = []
    host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
    for name in ("leader", "follower"):
        proxy = CountingProxy(store, host, int(port))
        through = url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
        candidate = candidates.leaderd(through, f"pod-{next(numbers)}", folder, f"{TTL_S}s", elections=elections)
        if name == "leader":
            candidate.wait_led(30.0)
        time.sleep(3.0)
        running.append((candidate, proxy))
    time.sleep(2.0)
    before = [proxy.requests for _, proxy in running]
    time.sleep(watch_s)
    for name, (_, proxy), start in zip(("leader", "follower"), running, before, strict=True):
        counts[name] = (proxy.requests - start) / (watch_s / PERIOD_S)
    for candidate, proxy in running:
        candidate.end()
        proxy.stop()
    met = counts["leader"] <= 3.1 and counts["follower"] <= 2.1  # a period more or less at the edges
    text = f"leader {counts['leader']:.2f}, follower {counts['follower']:.2f}"
    name = f"requests per renewal period, {store}, {elections} election{'s' * (elections > 1)}"
    return Figure(name, "leader <= 3, follower <= 2", text, met)


def run(quick: bool) -> list[Figure]:
    """Measure on every store."""
    watch_s = 10.0 if quick else 30.0
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ld-bench-") as name:
        folder = Path(name)
        numbers = itertools.count()
        figures += watch("local", f"local://{folder}/store", folder, numbers, watch_s)
        beds: list[tuple[str, Any]] = [
            ("etcd", EtcdCluster(nodes=1, version="3.5")),
            ("ZooKeeper", ZooKeeperCluster(nodes=1, version="3.9")),
            ("Consul", ConsulCluster(nodes=1)),
        ]
        for store, bed in beds:
            with bed as cluster:
                figures += watch(store, cluster.url("w"), folder, numbers, watch_s)
                for elections in (1, 20):
                    url = cluster.url(f"r{elections}")
                    figures.append(requests(store, url, folder, numbers, elections, watch_s))
    return figures
