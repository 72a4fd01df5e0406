"""The machine the figures were taken on, without names."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from pathlib import Path

QUIET = 1.0
_PATIENCE_S = 300.0


def description() -> str:
    """Processors, memory, system, interpreter."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gib = round(int(memory.group(1)) / 1024**2) if memory else 0
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} virtual processors, {gib} GiB, {_system()}, Linux {kernel}, CPython {platform.python_version()}"


def _system() -> str:
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{found.get('NAME', '').removesuffix(' GNU/Linux')} {found.get('VERSION_ID', '')}".strip()


def wait_quiet() -> float:
    """Wait until the machine is quiet, for some minutes at most; returns the load average of the last minute."""
    end_s = time.monotonic() + _PATIENCE_S
    while (load := os.getloadavg()[0]) > QUIET and time.monotonic() < end_s:
        print(f"load {load:.1f}, waiting for a quiet moment ...", file=sys.stderr, flush=True)
        time.sleep(10.0)
    return load
