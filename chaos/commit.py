"""Which code is running, as far as the checkout around it can tell."""

from __future__ import annotations

import functools
import subprocess

from testbed import checkout


@functools.cache
def commit() -> str | None:
    """The commit, with `+` where something tracked is not as committed; None without a checkout, or without git."""
    root = checkout.root()
    if root is None:
        return None  # whatever repository lies around an installed suite is not ours
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=9", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
