"""All descendants of a process: found in /proc and killed to the last, whatever group or session they have moved to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

_ROUND_S = 0.002
_MAX_ROUNDS = 500
"""A process that the kernel cannot kill at once (uninterruptible sleep) is left after a second: the signal stays pending on it."""


def descendants(root: int) -> list[int]:
    """Every living descendant of `root`. Those whose parent ended count too where `root` adopts orphans."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit() and (parent := _parent(name)) is not None:
            children.setdefault(parent, []).append(int(name))
    found, level = [], [root]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
        found += level
    return found


def _parent(name: str) -> int | None:
    """The parent of a process, `None` when it has ended. A zombie counts as long as it may have children: it has none."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses included.
    state, parent = text.rpartition(b")")[2].split()[:2]
    return None if state in b"ZX" else int(parent)


def signal_all(root: int, number: int, group: int | None) -> list[int]:
    """Send `number` to every descendant of `root` and to process group `group`; returns the descendants there were."""
    if group is not None:
        _send(os.killpg, group, number)
    found = descendants(root)
    for pid in found:
        _send(os.kill, pid, number)
    return found


def _send(call: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        call(target, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended, or runs as another user (setuid) and is out of our reach


def kill_all(root: int, group: int | None) -> bool:
    """SIGKILL every descendant of `root` until none is left, which is the result; the zombies are the caller's to reap."""
    for _ in range(_MAX_ROUNDS):
        # Those who fork while we look are found in the next round.
        if not signal_all(root, signal.SIGKILL, group):
            return True
        group = None  # its number may belong to somebody else once all of it is gone
        time.sleep(_ROUND_S)
    return False
