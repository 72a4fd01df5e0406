"""Where servers and tests keep what nobody needs afterwards: in memory where there is room, else in the temporary folder.

Every store syncs each commit to its disk. A disk that is shared with other machines stalls now and then: on the virtual disk that
docs/benchmarks.md was measured on, one sync in thirty took more than 30 ms and the longest 1.2 s (4 KiB each, 20 a second, nothing
else running; their median is 0.4 ms). A cluster whose leader cannot sync for that long elects another one, and what a test or a
benchmark sees then is the disk. Faults of the disk are the chaos suite's affair.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
"""etcd alone takes 128 MiB for the log of each node before it has written anything, and a few clusters run side by side."""


def scratch_root() -> Path:
    """The folder to make temporary folders in. A TMPDIR that is set is obeyed."""
    if "TMPDIR" not in os.environ and _fits(_MEMORY):
        return _MEMORY
    return Path(tempfile.gettempdir())


def _fits(folder: Path) -> bool:
    """Whether programs may be run from there, too, and it neither is small nor would leave little memory."""
    try:
        usable = os.access(folder, os.W_OK | os.X_OK) and not os.statvfs(folder).f_flag & os.ST_NOEXEC
        return usable and min(shutil.disk_usage(folder).free, _free_memory_bytes()) >= _ROOM_BYTES
    except OSError:
        return False


def _free_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
