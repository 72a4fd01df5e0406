"""What a run that was killed leaves behind: a folder with sockets, and a run folder without a verdict.

Faults leave nothing, for they live in namespaces that the kernel removes; but for an empty control group. Containers stay: they are
the engine's.
A run holds a lock on what it uses, so what is locked stays.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from chaos.containers import project
from chaos.faults import memory
from chaos.substrates import CannotInject

SOCKETS_PREFIX = "leaderd-chaos-"
RESULTS = "results.json"
_LOCK = ".in-use"


def hold(folder: Path) -> IO[str]:
    """Mark a folder as in use until what is returned is closed, or our process ends."""
    file = (folder / _LOCK).open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def find(out: Path) -> list[Path]:
    """What killed runs left in the place for temporary files and in the output folder, and nobody uses."""
    found = [path for path in sorted(Path(tempfile.gettempdir()).glob(f"{SOCKETS_PREFIX}*")) if (path / _LOCK).exists()]
    found += memory.left_over()
    found += [path.parent for path in sorted(out.glob("*/job.json")) if not (path.parent / RESULTS).exists()]
    return [path for path in found if not _in_use(path)]


def remove(out: Path, removed: Callable[[Path], None]) -> None:
    """Remove it, and call `removed` for each.

    Raises `CannotInject` at the end, when all others are gone, for what stays: an engine that has containers of it may not answer.
    """
    failed = []
    for path in find(out):
        try:
            _remove(path)
        except (OSError, CannotInject) as error:
            failed.append(f"{path} stays: {error}")
        else:
            removed(path)
    if failed:
        raise CannotInject("; ".join(failed))


def _remove(path: Path) -> None:
    if path.is_relative_to("/sys"):
        path.rmdir()  # a control group: its files are the kernel's
        return
    if (path / project.MARK).exists():
        project.remove_left(path.name)
    shutil.rmtree(path)


def _in_use(folder: Path) -> bool:
    lock = folder / _LOCK
    if not lock.exists():
        return False
    with lock.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
