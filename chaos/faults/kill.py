"""Kill: SIGKILL to a daemon or a store node; healing starts it again. Terminate: SIGTERM, the orderly way out."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, NotHealed, probed
from chaos.pods import Pod
from chaos.severed import by_loss
from testbed.process import wait_until

_READY_S = 60.0


class Kill(msgspec.Struct, frozen=True, tag="kill", tag_field="fault", forbid_unknown_fields=True):
    """The daemons in role `at` die at once; their apps live on."""

    at: str = "leader"

    def inject(self, bed: Bed) -> Injection:
        """Kill those who play the part now."""
        pods = [bed.pod(host) for host in bed.who(self.at)]
        for pod in pods:
            pod.kill()
        return _ended(pods, "killed")


class Terminate(msgspec.Struct, frozen=True, tag="terminate", tag_field="fault", forbid_unknown_fields=True):
    """The daemons in role `at` are asked to go (SIGTERM), as in a rollout; again after `again_ms`, by somebody impatient.

    leaderd takes what comes within 250 ms for the echo of the first. Later it is an operator's order to release at once,
    whatever was promised.
    """

    at: str = "leader"
    again_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """Ask, and wait for the end: promises are kept first."""
        pods = [bed.pod(host) for host in bed.who(self.at)]
        for pod in pods:
            pod.signal(signal.SIGTERM)
        if self.again_ms:
            time.sleep(self.again_ms / 1000)
            for pod in pods:
                with suppress(ProcessLookupError):
                    pod.signal(signal.SIGTERM)
        return _ended(pods, f"terminated, and again after {self.again_ms} ms" if self.again_ms else "terminated")


class KillNode(msgspec.Struct, frozen=True, tag="kill-node", tag_field="fault", forbid_unknown_fields=True):
    """The store nodes in role `at` lose power; their data stays. `ready`: healing ends when all of them serve again, as whoever
    restarts one after the other waits for each.
    """

    at: str = "store-leader"
    ready: bool = False

    def inject(self, bed: Bed) -> Injection:
        """Kill, all of them at once."""
        hosts = bed.who(self.at)
        nodes = [bed.node(host) for host in hosts]
        for node in nodes:
            bed.cluster.kill(node)

        def bites() -> str:
            alive = [node for node in nodes if bed.cluster.pids[node] is not None]
            if alive:
                raise NotBiting(f"nodes {alive} still run")
            return f"{len(nodes)} store nodes are gone"

        def heal() -> None:
            for node in nodes:
                if bed.cluster.pids[node] is None:
                    bed.cluster.restart(node, wait=False)
            if self.ready:
                bed.cluster.wait_ready(_READY_S)

        gone = probed(
            lambda: all(bed.listens(host) for host in hosts),
            _READY_S,
            f"{len(nodes)} store nodes listen again",
            f"not every node of {' '.join(hosts)} listens",
        )
        severs = by_loss(bed.store_hosts, hosts, bed.reach)
        return Injection(f"store node {' '.join(hosts)} killed", tuple(hosts), bites, heal, gone, severs)


def _ended(pods: list[Pod], how: str) -> Injection:
    def bites() -> str:
        wait_until(lambda: not any(pod.daemon.running for pod in pods), 20.0, f"{' '.join(pod.name for pod in pods)} ended")
        return f"{len(pods)} daemons are gone"

    def heal() -> None:
        for pod in pods:
            if not pod.daemon.running:
                pod.start_daemon()

    names = tuple(pod.host for pod in pods)
    return Injection(f"daemon {' '.join(names)} {how}", names, bites, heal, lambda: alive(pods))


def alive(pods: Sequence[Pod]) -> str:
    """What a probe sees of daemons that have been started again. Raises `NotHealed`."""
    absent = [pod.name for pod in pods if not pod.daemon.running]
    if absent:
        raise NotHealed(f"{' '.join(absent)} does not run")
    return f"{len(pods)} daemons run"
