"""The files of this checkout that git tracks, or would: what a release is made of, and nothing that lies around beside them."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from testbed import lacking

ROOT = Path(__file__).parents[2]


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Those that are here, sorted. Where there is no git, or no repository, the test is skipped, in CI a failure."""
    # In a container the checkout may be another user's.
    words = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=30)
    except FileNotFoundError:
        lacking("git", "git is not on PATH")
    if done.returncode != 0:
        lacking("repository", done.stderr.decode().strip())
    found = (ROOT / name for name in sorted(done.stdout.decode().split("\0")) if name)
    return tuple(path for path in found if path.is_file())
