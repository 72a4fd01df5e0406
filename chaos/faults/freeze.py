"""Freeze: SIGSTOP a daemon, a pod or a store node, as a paused machine; SIGCONT heals. FreezeApp: between a yes and its write."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
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
            nodes = [bed.cluster.process(bed.node(host)) for host in hosts]
            for node in nodes:
                node.freeze()
            return Injection(text, tuple(hosts), *_probes(nodes), by_loss(bed.store_hosts, hosts, bed.reach))
        processes: list[Process] = []
        for host in hosts:
            pod = bed.pod(host)
            processes += [pod.app, pod.daemon] if self.what == "pod" else [pod.daemon]
            if self.what == "pod" and pod is bed.leader() and pod.app.running:
                _freeze_itself(bed, pod)  # where it hurts: another instant would show nothing
        for process in processes:
            process.freeze()
        return Injection(text, tuple(hosts), *_probes(processes), tuple(hosts))


class FreezeApp(msgspec.Struct, frozen=True, tag="freeze-app", tag_field="fault", forbid_unknown_fields=True):
    """The app in role `at` stops itself after its next yes, before it writes: the gap that only a fencing token closes."""

    at: str = "leader"

    def inject(self, bed: Bed) -> Injection:
        """Ask the app to freeze itself at the worst moment."""
        (host,) = bed.who(self.at)
        _freeze_itself(bed, bed.pod(host))
        return Injection(f"app {host} frozen between its yes and its write", (host,), *_probes([bed.pod(host).app]))


def _freeze_itself(bed: Bed, pod: Pod) -> None:
    """Ask an app whose daemon leads to stop itself between its next yes and its write."""
    if not pod.app.running:
        raise NotBiting(f"the app beside {pod.host} does not run")
    pod.app.send(signal.SIGUSR1)
    wait_until(lambda: pod.app.stands_still, 3.0 * bed.pods[0].plan.slot_s + 5.0, f"the app beside {pod.host} freezes itself")


def _probes(processes: Sequence[Process]) -> tuple[Callable[[], str], Callable[[], None], Callable[[], str]]:
    return lambda: _stopped(processes), lambda: thaw(processes), lambda: going_on(processes)


def going_on(processes: Sequence[Process]) -> str:
    """What a probe sees of processes that have been let go. Raises `NotHealed`."""
    still = [process.pid for process in processes if process.stands_still]
    if still:
        raise NotHealed(f"processes {still} still stand still")
    return f"{sum(process.running for process in processes)} processes go on"


def _stopped(processes: Sequence[Process]) -> str:
    running = [process.pid for process in processes if not process.stands_still]
    if running or not processes:
        raise NotBiting(f"processes {running} go on")
    return f"{len(processes)} processes stand still"


def thaw(processes: Sequence[Process]) -> None:
    """Let go those that run."""
    for process in processes:
        if process.running:
            process.thaw()
