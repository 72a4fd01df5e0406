"""Which kernel, and which of its clocks, the instants in the file belong to."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from leaderd.election.problems import Reason
from leaderd.stores.local.problem import LocalError

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_OCTAL = re.compile(r"\\([0-7]{3})")
# Types of file systems that several kernels can have mounted at once.
_SHARED = frozenset(
    ["9p", "afs", "beegfs", "ceph", "cifs", "coda", "fakeowner", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"]
    + ["orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"]
    + ["fuse." + name for name in ("ceph-fuse", "cephfs", "glusterfs", "grpcfuse", "osxfs", "s3fs", "sshfs", "vmhgfs-fuse")]
)


@dataclass(frozen=True, slots=True)
class Host:
    """`boot`: this run of this kernel. `time_ns`: the time namespace whose CLOCK_BOOTTIME we read."""

    boot: str
    time_ns: str


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount point, and the type of the file system there."""

    point: str
    fstype: str


def read_host(proc: Path = Path("/proc")) -> Host:
    """Identify kernel and clock. Raises `LocalError` where sessions of other processes could not be judged."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        mounts = read_mounts(proc)
    except (OSError, ValueError) as error:
        raise LocalError(Reason.STORE_ERROR, f"the boot id of this kernel cannot be read: {error}") from error
    # systemd-nspawn and LXD give every container a boot id of its own, on one kernel: "another boot" would not mean "dead".
    if any(mount.point == _BOOT_ID for mount in mounts):
        raise LocalError(
            Reason.STORE_ERROR, f"{_BOOT_ID} is overmounted in this container: the local store cannot notice a reboot here"
        )
    return Host(boot, _time_namespace(proc))


def _time_namespace(proc: Path) -> str:
    """Inode and boot-time offset: the kernel reuses the inode numbers of dead namespaces, so the number alone would not do."""
    try:
        inode = os.readlink(proc / "self/ns/time")
    except OSError:
        return "none"  # a kernel without time namespaces has one clock
    try:
        offsets = (proc / "self/timens_offsets").read_text(encoding="ascii")
    except OSError:
        return inode
    return inode + " " + " ".join(" ".join(line.split()[1:]) for line in offsets.splitlines() if line.startswith("boottime"))


def read_mounts(proc: Path = Path("/proc")) -> list[Mount]:
    """The mounts of this process, in the order in which they were made."""
    mounts = []
    for line in (proc / "self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) > 4 and right:
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append(Mount(point, right.split()[0]))
    return mounts


def refuse_shared(directory: Path, mounts: list[Mount]) -> None:
    """Raise `LocalError` if `directory` lies on a file system that other kernels can have mounted at the same time."""
    real = os.path.realpath(directory)
    inside = [mount for mount in mounts if real == mount.point or real.startswith(mount.point.rstrip("/") + "/")]
    if not inside:
        return
    deepest = max(len(mount.point) for mount in inside)
    # Later mounts cover earlier ones on the same point.
    fstype = [mount.fstype for mount in inside if len(mount.point) == deepest][-1]
    # Safety: see test_a_shared_file_system_is_refused
    if fstype in _SHARED:
        raise LocalError(
            Reason.STORE_ERROR, f"{directory} is on {fstype}, which several hosts can share: the local store needs a local disk"
        )
