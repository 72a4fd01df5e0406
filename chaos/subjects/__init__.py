"""What can be put to the test: leaderd, and the tools that people use today. Each is asked by the same probe, over a Unix socket.

A subject is how to start one candidate of it. The peers have no daemon to ask: what they let run while they hold the lock answers
for them (`held.py`), as the job behind such a lock does. They promise nothing, so a claim of theirs is what two answers enclose.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.subjects.held import FENCE
from testbed import curator
from testbed.fetch import installed

_HERE = Path(__file__).parent
Start = Callable[[Sequence[str], str, str], list[str]]
"""Called with the store's `host:port`s, the election and the socket to answer on."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool other than leaderd: on which store it runs, and its command line."""

    store: str
    command: Start
    failover_s: float
    """How long it may take until another candidate leads, as measured; a run waits for twice that."""
    fence: str = ""
    """What it hands the job that could fence a resource; most hand out nothing."""
    needs: str = ""
    """What of the test bed it needs besides the store's servers."""


def _kazoo(hosts: Sequence[str], election: str, socket: str) -> list[str]:
    return [sys.executable, str(_HERE / "kazoo_election.py"), ",".join(hosts), f"/chaos/{election}", socket]


def _etcdctl(hosts: Sequence[str], election: str, socket: str) -> list[str]:
    program = installed("etcd", "3.5").programs["etcdctl"]
    held = [sys.executable, str(_HERE / "held.py"), socket]
    return [program, f"--endpoints={','.join(hosts)}", "lock", "--ttl=3", f"chaos/{election}", *held]


def _consul(hosts: Sequence[str], election: str, socket: str) -> list[str]:
    program = installed("consul").programs["consul"]
    held = [sys.executable, str(_HERE / "held.py"), socket]
    return [program, "lock", f"-http-addr=http://{hosts[0]}", "-shell=false", f"chaos/{election}", *held]


def _curator(hosts: Sequence[str], election: str, socket: str) -> list[str]:
    selector = curator.command(",".join(hosts), f"/chaos/{election}", Path(socket).parent.name, hold_ms=0, session_ms=3000)
    return [sys.executable, str(_HERE / "curator_selector.py"), socket, *selector]


PEERS: dict[str, Peer] = {
    "kazoo-election": Peer("zookeeper", _kazoo, 5.0),
    "curator-selector": Peer("zookeeper", _curator, 6.0, needs="curator"),
    "etcdctl-lock": Peer("etcd", _etcdctl, 5.0, fence=FENCE),
    "consul-lock": Peer("consul", _consul, 45.0),
}
