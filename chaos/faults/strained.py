"""Strained disks of store nodes: every sync takes long, or fails. Done by strace from outside, as a slow or dying disk would."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.substrates import CannotInject
from testbed.process import Process, WaitTimeout, wait_until

_SYNCS = "fsync,fdatasync"
_WORDS = {"slow": "takes {ms} ms longer", "broken": "fails with EIO"}


class Disk(msgspec.Struct, frozen=True, tag="disk", tag_field="fault", forbid_unknown_fields=True):
    """Every sync of the store nodes in role `at` is `slow`, by `ms`, or `broken`: it fails with EIO, and the node may well end."""

    at: str = "store-leader"
    kind: Literal["slow", "broken"] = "slow"
    ms: int = 400

    def available(self) -> str | None:
        """Why this machine cannot do it, or None if it can."""
        return None if shutil.which("strace") else "a disk is strained by strace, which is not on PATH (Debian: strace)"

    def inject(self, bed: Bed) -> Injection:
        """Attach to every thread of them."""
        hosts = bed.who(self.at)
        nodes = [bed.node(host) for host in hosts]
        what = "error=EIO" if self.kind == "broken" else f"delay_exit={self.ms * 1000}"
        tracers = [self._attach(bed, node, f"inject={_SYNCS}:{what}") for node in nodes]

        def acted() -> bool:
            word = "(INJECTED)" if self.kind == "broken" else "(DELAYED)"
            return all(word in _read(_trace(bed, node)) for node in nodes)

        def bites() -> str:
            # Where nobody comes or goes nothing is written: renewals are reads. So something is, whatever comes of it.
            threading.Thread(target=_write, args=(bed,), daemon=True).start()
            try:
                wait_until(acted, 10.0, "a sync of each node was met", every=0.1)
            except WaitTimeout:
                raise NotBiting(f"no sync of {' '.join(hosts)} was met within 10 s") from None
            return "strace tells of syncs that it was done to"

        def heal() -> None:
            for tracer in tracers:
                tracer.stop(5.0)
            for node in nodes:
                if bed.cluster.pids[node] is None:
                    bed.cluster.restart(node, wait=False)

        text = f"each sync to the disk of store node {' '.join(hosts)} {_WORDS[self.kind].format(ms=self.ms)}"

        def untraced() -> bool:
            return all((pid := bed.cluster.pids[node]) is not None and not _traced(pid) for node in nodes)

        gone = probed(untraced, 10.0, "nobody traces the nodes any more", f"{' '.join(hosts)} is still traced, or does not run")
        return Injection(text, tuple(hosts), bites, heal, gone)

    def _attach(self, bed: Bed, node: int, inject: str) -> Process:
        pid, trace = bed.cluster.pids[node], _trace(bed, node)
        if pid is None:
            raise CannotInject(f"store node {node} does not run")
        trace.unlink(missing_ok=True)
        command = ["strace", "-f", "-qq", "-p", str(pid), "-e", f"trace={_SYNCS}", "-e", inject, "-o", str(trace)]
        tracer = Process(command, bed.cluster.workdir / f"strace{node}.log")
        tracer.start()
        try:
            wait_until(lambda: _traced(pid) or not tracer.running, 10.0, f"strace is attached to {pid}")
        except WaitTimeout:
            pass  # told below
        if not _traced(pid):
            tracer.stop(1.0)
            raise CannotInject(f"strace cannot attach to a store node: {tracer.log_tail(3)}")
        return tracer


def _write(bed: Bed) -> None:
    with suppress(Exception):  # the store may well refuse: that is the fault
        bed.operator.catch_up(0)


def _trace(bed: Bed, node: int) -> Path:
    return bed.cluster.workdir / f"strace{node}.out"


def _traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in _read(Path(f"/proc/{pid}/status"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
