"""Fill: the disk of a store node is full. The topology has to say `disk: small`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.substrates import CannotInject

_BALLAST = "ballast"
_PIECE = bytes(1 << 16)


class Fill(msgspec.Struct, frozen=True, tag="fill", tag_field="fault", forbid_unknown_fields=True):
    """Whatever is left of the disks of the store nodes in role `at` is taken by a file of somebody's."""

    at: str = "stores"

    def inject(self, bed: Bed) -> Injection:
        """Write until nothing more is taken."""
        hosts = bed.who(self.at)
        nodes = [bed.node(host) for host in hosts]
        folders = [bed.cluster.folder(node) for node in nodes]
        for host, folder in zip(hosts, folders, strict=True):
            if not os.path.ismount(folder):
                raise CannotInject(f"{host} has no disk of its own: the topology has to say `disk: small`")
            _fill(folder / _BALLAST)

        def bites() -> str:
            for host, folder in zip(hosts, folders, strict=True):
                if _takes(folder / "probe"):
                    raise NotBiting(f"the disk of {host} takes more")
            return "no file takes another byte there"

        def heal() -> None:
            for node, folder in zip(nodes, folders, strict=True):
                (folder / _BALLAST).unlink(missing_ok=True)
                if bed.cluster.pids[node] is None:
                    bed.cluster.restart(node, wait=False)

        def free() -> bool:
            return all(_takes(folder / "probe") for folder in folders)

        gone = probed(free, 5.0, "the disks take more", f"a disk of {' '.join(hosts)} is still full")
        return Injection(f"the disk of store node {' '.join(hosts)} is full", tuple(hosts), bites, heal, gone)


def _fill(path: Path) -> None:
    """In large pieces, then in single bytes. What the node frees later is taken by whoever comes first, as on any disk."""
    with path.open("wb", buffering=0) as ballast:
        for piece in (_PIECE, b"\0"):
            try:
                while ballast.write(piece):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _takes(path: Path) -> bool:
    try:
        path.write_bytes(_PIECE)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    finally:
        path.unlink(missing_ok=True)
    return True
