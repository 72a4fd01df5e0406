"""Freeze: SIGSTOP a daemon, a pod or a store node, as a paused machine; SIGCONT heals. FreezeApp: between a yes and its write."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, NotHealed
from chaos.pods import Pod
from chaos.severed import by_loss
from testbed.process import Process, wait_until


class Freeze(msgspec.Struct, frozen=True, tag="freeze", tag_field="fault", forbid_unknown_fields=True):
    """`what` of the pods (or store nodes) in role `at`: the `daemon`, the `pod` (daemon and app), or a store `node`.

    The app of a pod that leads is stopped between a yes and its write, as in the worst of all pauses.
    """

    at: str
    what: Literal["daemon", "pod", "node"] = "daemon"

    def inject(self, bed: Bed) -> Injection:
        """Stop every thread of them."""
        hosts = bed.who(self.at)
        text = f"{self.what} {' '.join(hosts)} frozen"
        if self.what == "node":
            nodes = [bed.node(host) for host in hosts]
            for node in nodes:
                bed.cluster.freeze(node)
            pids = [pid for node in nodes if (pid := bed.cluster.pids[node]) is not None]
            severs = by_loss(bed.store_hosts, hosts, bed.reach)
            return Injection(text, tuple(hosts), *_probes(pids, lambda: _thaw_nodes(bed, nodes)), severs)
        processes: list[Process] = []
        for host in hosts:
            pod = bed.pod(host)
            processes += [pod.app, pod.daemon] if self.what == "pod" else [pod.daemon]
            if self.what == "pod" and pod is bed.leader() and pod.app.running:
                _freeze_itself(bed, pod)  # where it hurts: another instant would show nothing
        for process in processes:
            process.freeze()
        pids = [process.pid for process in processes if process.pid is not None]
        return Injection(text, tuple(hosts), *_probes(pids, lambda: _thaw(processes)), tuple(hosts))


class FreezeApp(msgspec.Struct, frozen=True, tag="freeze-app", tag_field="fault", forbid_unknown_fields=True):
    """The app in role `at` stops itself after its next yes, before it writes: the gap that only a fencing token closes."""

    at: str = "leader"

    def inject(self, bed: Bed) -> Injection:
        """Ask the app to freeze itself at the worst moment."""
        (host,) = bed.who(self.at)
        app = bed.pod(host).app
        pid = _freeze_itself(bed, bed.pod(host))

        def heal() -> None:
            if app.running:
                app.thaw()

        return Injection(f"app {host} frozen between its yes and its write", (host,), *_probes([pid], heal))


def _freeze_itself(bed: Bed, pod: Pod) -> int:
    """Ask an app whose daemon leads to stop itself between its next yes and its write; returns its process id."""
    pid = pod.app.pid
    if pid is None:
        raise NotBiting(f"the app beside {pod.host} does not run")
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: _state(pid) == "T", 3.0 * bed.pods[0].plan.slot_s + 5.0, f"the app beside {pod.host} freezes itself")
    return pid


def _probes(pids: list[int], heal: Callable[[], None]) -> tuple[Callable[[], str], Callable[[], None], Callable[[], str]]:
    return lambda: _stopped(pids), heal, lambda: running(pids)


def running(pids: Sequence[int | None]) -> str:
    """What a probe sees of processes that have been let go. Raises `NotHealed`."""
    known = [pid for pid in pids if pid is not None]
    still = [pid for pid in known if _state(pid) == "T"]
    if still:
        raise NotHealed(f"processes {still} still stand still")
    return f"{len(known)} processes go on"


def _stopped(pids: list[int]) -> str:
    running = [pid for pid in pids if _state(pid) != "T"]
    if running or not pids:
        raise NotBiting(f"processes {running} go on")
    return f"{len(pids)} processes stand still"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def _thaw(processes: list[Process]) -> None:
    for process in processes:
        if process.running:
            process.thaw()


def _thaw_nodes(bed: Bed, nodes: list[int]) -> None:
    for node in nodes:
        if bed.cluster.pids[node] is not None:
            bed.cluster.thaw(node)
