"""What a daemon costs while it waits: memory, processor, wake-ups."""

from __future__ import annotations

import time

from bench import process
from bench.ground import Bed, Ground
from bench.stats import Figure, flat
from bench.watchers import Watching

SETTLE_S = 4.0
MAX_CPU_PERCENT = 0.5
GRPC_MIB = 65.0
GRPC_STORES = ("local", "etcd")
CALLS = 1000


def max_rss_mib(store: str) -> float:
    """What is aimed at: gRPC's library is worth 15 MiB."""
    return 60 if store == "etcd" else 45


def measure(ground: Ground, bed: Bed, watch_s: float) -> list[Figure]:
    """A leader and a follower, with both TCP listeners and the socket, at rest."""
    url = bed.url("rest")
    leader = ground.daemon(url, listen=True)
    follower = leader
    try:
        leader.wait_led(30.0)
        follower = ground.daemon(url, listen=True)
        follower.wait_says(b"-> follower", 1, 30.0)
        time.sleep(SETTLE_S)
        both = {"leader": leader.pid, "follower": follower.pid}
        before = {role: process.usage(pid) for role, pid in both.items()}
        time.sleep(watch_s)
        after = {role: process.usage(pid) for role, pid in both.items()}
        sizes = {role: process.size(pid) for role, pid in both.items()}
    finally:
        leader.end()
        follower.end()
    percent = {role: (after[role].cpu_s - before[role].cpu_s) / watch_s * 100 for role in both}
    wakeups = {role: (after[role].sleeps - before[role].sleeps) / watch_s for role in both}
    rss_mib = max(size.rss_mib for size in sizes.values())
    memory = "; ".join(
        f"{role} {size.rss_mib:.1f} MiB RSS, {size.pss_mib:.1f} PSS, {size.threads} threads, {size.files} files"
        for role, size in sizes.items()
    )
    cpu = "; ".join(f"{role} {percent[role]:.2f} %, {wakeups[role]:.1f} wake-ups/s" for role in both)
    limit_mib, values = max_rss_mib(bed.store), {f"{role}_rss_mib": size.rss_mib for role, size in sizes.items()}
    busy = {f"{role}_percent": percent[role] for role in both} | {f"{role}_wakeups_per_s": wakeups[role] for role in both}
    return [
        Figure(f"resident memory at rest, {bed.store}", f"<= {limit_mib:g} MiB", memory, rss_mib <= limit_mib, {**values}),
        Figure(
            f"processor at rest, {bed.store}",
            f"<= {MAX_CPU_PERCENT:g} % of a core",
            cpu,
            max(percent.values()) <= MAX_CPU_PERCENT,
            {**busy},
        ),
    ]


def measure_grpc(ground: Ground, bed: Bed) -> Figure:
    """A leader that answers over gRPC too, when it has been asked often and has a watcher."""
    daemon = ground.daemon(bed.url("grpc"), listen=True, grpc=True)
    try:
        daemon.wait_led(30.0)
        assert daemon.socket is not None
        watching = Watching("grpc", f"unix:{daemon.socket.parent / 'grpc.sock'}", str(CALLS))
        watching.wait_ready()
        time.sleep(SETTLE_S)
        size = process.size(daemon.pid)
        watching.end()
    finally:
        daemon.end()
    found = f"{size.rss_mib:.1f} MiB RSS, {size.pss_mib:.1f} PSS, {size.threads} threads, {size.files} files"
    text = f"{found}; after {CALLS:,} calls, with a watcher"
    title = f"resident memory with gRPC on, {bed.store}"
    return Figure(title, f"<= {GRPC_MIB:g} MiB", text, size.rss_mib <= GRPC_MIB, {"rss_mib": size.rss_mib})


def run(ground: Ground) -> list[Figure]:
    """Measure on every store; gRPC on the lightest one, and on the one whose driver has the library loaded already."""
    watch_s = 20.0 if ground.quick else 40.0
    at_rest = flat(ground.each_store(lambda bed: measure(ground, bed, watch_s)))
    return [*at_rest, *ground.each_store(lambda bed: measure_grpc(ground, bed), GRPC_STORES)]
