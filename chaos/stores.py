"""The three stores as a run brings them up, and how long a fail-over may take on each."""

from __future__ import annotations

from pathlib import Path

from chaos.substrates import Links
from leaderd.config.durations import parse_duration
from leaderd.config.relations import make_timing
from leaderd.election.timing import RULES, Timing
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster
from testbed.cluster import Cluster, Wrap

KINDS = ("etcd", "zookeeper", "consul")
MIN_TTL_S = {"etcd": 2.0, "zookeeper": 3.0, "consul": 5.0}
"""Below this the reserve is thin on a busy machine, and a term would end without a fault."""
_IN_CONTAINERS_S = {"zookeeper": 6.0}
"""The same, where data is on the engine's disk and each start of a container keeps that busy: ZooKeeper waits for it."""
_TICK_S = 0.5
_OWN_ELECTION_S = 4.0
"""How long the store may need for a leader of its own, with the timings set here."""


def make(kind: str, nodes: int, links: Links, workdir: Path | None = None) -> Cluster:
    """A cluster whose node i lives on host `s<i+1>`, with its data in `workdir`, or in a folder that goes with it.

    Raises `FetchError` when the servers are not here.
    """
    hosts = [links.address(f"s{number}") for number in range(1, nodes + 1)]

    wrap: Wrap = lambda index: links.inside(f"s{index + 1}")  # noqa: E731
    match kind:
        case "etcd":
            return EtcdCluster(nodes, workdir=workdir, hosts=hosts, wrap=wrap)
        case "zookeeper":
            return ZooKeeperCluster(nodes, workdir=workdir, tick_time_ms=round(_TICK_S * 1000), hosts=hosts, wrap=wrap)
        case _:
            # Autopilot would throw a cut-off server out, and take it back only after the run.
            autopilot = {"autopilot": {"cleanup_dead_servers": False, "server_stabilization_time": "1s"}}
            return ConsulCluster(nodes, workdir=workdir, session_ttl_min="1s", config=autopilot, hosts=hosts, wrap=wrap)


def ttl_s(kind: str, wanted: str, substrate: str = "netns") -> float:
    """The ttl of a run: what the scenario wants, but not below what the store does reliably there."""
    least_s = _IN_CONTAINERS_S.get(kind, 0.0) if substrate == "docker" else 0.0
    return max(parse_duration(wanted), MIN_TTL_S[kind], least_s)


def lease_s(kind: str, ttl_s: float) -> float:
    """For how long whoever leads may lead on after the last renewal that was confirmed, counted from its sending."""
    return make_timing(ttl_s, None, None, None, Timing()).valid_for_s(RULES[kind], ttl_s)


def bound_s(kind: str, ttl_s: float, store_disturbed: bool) -> float:
    """Within which time somebody leads again after the leader is lost.

    etcd: ttl, its sweep of 0.5 s, 1 s for the rest. ZooKeeper: timeout, a tick, 1 s. Consul: twice the ttl, then the lock-delay
    of one ttl, then 1 s. A store that chooses a leader of its own starts all sessions anew: its election and another ttl on top.
    """
    alone_s = {"etcd": ttl_s + 1.5, "zookeeper": ttl_s + _TICK_S + 1.0, "consul": 3 * ttl_s + 1.0}[kind]
    anew_s = ttl_s * (2 if kind == "consul" else 1)
    return alone_s + (_OWN_ELECTION_S + anew_s if store_disturbed else 0.0)
