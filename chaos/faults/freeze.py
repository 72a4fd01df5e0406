"""Freeze: SIGSTOP a daemon, a pod or a store node, as a paused machine; SIGCONT heals. FreezeApp: between a yes and its write."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting
from testbed.process import Process, wait_until


class Freeze(msgspec.Struct, frozen=True, tag="freeze", tag_field="fault", forbid_unknown_fields=True):
    """`what` of the pods (or store nodes) in role `at`: the `daemon`, the `pod` (daemon and app), or a store `node`."""

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
            return Injection(text, tuple(hosts), lambda: _stopped(pids), lambda: _thaw_nodes(bed, nodes))
        processes: list[Process] = []
        for host in hosts:
            pod = bed.pod(host)
            processes += [pod.daemon, pod.app] if self.what == "pod" else [pod.daemon]
        for process in processes:
            process.freeze()
        pids = [process.pid for process in processes if process.pid is not None]
        return Injection(text, tuple(hosts), lambda: _stopped(pids), lambda: _thaw(processes))


class FreezeApp(msgspec.Struct, frozen=True, tag="freeze-app", tag_field="fault", forbid_unknown_fields=True):
    """The app in role `at` stops itself after its next yes, before it writes: the gap that only a fencing token closes."""

    at: str = "leader"

    def inject(self, bed: Bed) -> Injection:
        """Ask the app to freeze itself at the worst moment."""
        (host,) = bed.who(self.at)
        app = bed.pod(host).app
        pid = app.pid
        assert pid is not None
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: _state(pid) == "T", 3.0 * bed.pods[0].plan.slot_s + 5.0, f"the app beside {host} freezes itself")

        def heal() -> None:
            if app.running:
                app.thaw()

        return Injection(f"app {host} frozen between its yes and its write", (host,), lambda: _stopped([pid]), heal)


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
