"""Backup, Restore, Wipe: what operators and volume snapshots do to the data of the whole store, so that it forgets."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, NotHealed, over_at_once
from testbed.cluster import Cluster
from testbed.process import WaitTimeout

_READY_S = 60.0


class Backup(msgspec.Struct, frozen=True, tag="backup", tag_field="fault", forbid_unknown_fields=True):
    """A copy of all nodes' data, of one instant: they stand still meanwhile, as for a snapshot of their volumes."""

    def inject(self, bed: Bed) -> Injection:
        """Take it."""
        cluster = bed.cluster
        nodes = cluster.serving
        for node in nodes:
            cluster.freeze(node)
        try:
            for node in range(cluster.nodes):
                shutil.rmtree(_backup(cluster, node), ignore_errors=True)
                shutil.copytree(cluster.folder(node), _backup(cluster, node))
        finally:
            for node in nodes:
                cluster.thaw(node)

        def bites() -> str:
            sizes = [_size(_backup(cluster, node)) for node in range(cluster.nodes)]
            if not all(sizes):
                raise NotBiting("the backup is empty")
            return f"{len(sizes)} copies, {sum(sizes) >> 20} MiB in all"

        return Injection("a backup of the whole store taken", tuple(bed.store_hosts), bites, lambda: None, over_at_once)


class Restore(msgspec.Struct, frozen=True, tag="restore", tag_field="fault", forbid_unknown_fields=True):
    """All nodes are killed, their data replaced by the backup of before (or by nothing at all: `wiped`), and started again.

    Healing is the documented repair: the store's numbers are brought above the highest token that was ever answered.
    """

    wiped: bool = False

    def inject(self, bed: Bed) -> Injection:
        """Do it, and wait until the store serves again."""
        cluster = bed.cluster
        before = bed.operator.leading()
        for node in range(cluster.nodes):
            cluster.kill(node)
        for node in range(cluster.nodes):
            _replace(cluster, node, wiped=self.wiped)
        for node in range(cluster.nodes):
            cluster.restart(node, wait=False)
        cluster.wait_ready(_READY_S)

        def bites() -> str:
            after = bed.operator.leading()
            if after == before:
                raise NotBiting(f"{before} is there as before")
            return f"{before or 'nobody'} led by the data before, {after or 'nobody'} now"

        def heal() -> None:
            for node in range(cluster.nodes):
                if cluster.pids[node] is None:
                    cluster.restart(node, wait=False)
            try:
                cluster.wait_ready(_READY_S)
            except WaitTimeout as error:
                raise RuntimeError(f"the store does not come back: {error}") from None
            known = [pod.probe.latest[0] for pod in bed.pods if pod.probe.latest is not None]
            bed.operator.catch_up(max(known, default=0))

        def gone() -> str:
            if bed.cluster.pids.count(None):
                raise NotHealed("not every store node runs")
            known = [pod.probe.latest[0] for pod in bed.pods if pod.probe.latest is not None]
            bed.operator.catch_up(max(known, default=0))  # one write more, and its number
            return "the store takes writes, with numbers above every token that was answered"

        text = "the store comes back without any of its data" if self.wiped else "the store comes back with the data of the backup"
        return Injection(text, tuple(bed.store_hosts), bites, heal, gone)


def _backup(cluster: Cluster, node: int) -> Path:
    return cluster.workdir / f"backup{node}"


def _replace(cluster: Cluster, node: int, *, wiped: bool) -> None:
    folder = cluster.folder(node)
    if not wiped:
        shutil.rmtree(folder)
        shutil.copytree(_backup(cluster, node), folder)
        return
    data = folder / "data"
    kept = {each.name: each.read_bytes() for each in data.glob("myid")}  # ZooKeeper's name for the node is configuration
    shutil.rmtree(data)
    data.mkdir()
    for name, content in kept.items():
        (data / name).write_bytes(content)


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
