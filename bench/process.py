"""What the kernel knows about a process: memory, processor time, wake-ups, threads, descriptors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024


@dataclass(frozen=True)
class Usage:
    """Totals so far, over all threads."""

    cpu_s: float
    sleeps: int
    """How often a thread went to sleep of its own accord: as often it was woken up."""


@dataclass(frozen=True)
class Size:
    """How large it is now. `pss_mib` counts a page shared by n processes as 1/n."""

    rss_mib: float
    pss_mib: float
    threads: int
    files: int


def usage(pid: int) -> Usage:
    """Read /proc. The scheduler's own account, in nanoseconds: /proc/PID/stat counts hundredths of a second."""
    cpu_ns = sleeps = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        sleeps += field((task / "status").read_text(), "voluntary_ctxt_switches")
    return Usage(cpu_ns / 1e9, sleeps)


def size(pid: int) -> Size:
    """Read /proc."""
    proc = Path(f"/proc/{pid}")
    rollup = (proc / "smaps_rollup").read_text()
    threads = field((proc / "status").read_text(), "Threads")
    return Size(field(rollup, "Rss") / _MIB, field(rollup, "Pss") / _MIB, threads, len(list((proc / "fd").iterdir())))


def forget_peak(pid: int) -> None:
    """From now on `peak_mib` counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """The most resident memory that it ever had at a time, since `forget_peak`."""
    return field(Path(f"/proc/{pid}/status").read_text(), "VmHWM") / _MIB


def field(text: str, name: str) -> int:
    """The number after `name:`; 0 if there is none."""
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else 0
