"""What happened, as it happened: one JSON object a line, appended and flushed, all instants on CLOCK_BOOTTIME in nanoseconds.

`kind` tells what a line is: `run` (what was run, with which settings), `poll` (one answer of one life of an instance: asked,
answered, token, promised until), `fault` and `heal` (what, to whom), `bites` and `gone` (what a probe saw of it then),
`process` (a daemon started, killed, signalled), `exit` (one ended, with which code, and what it had been sent),
`write` (what a resource took or refused), `promise` (of a daemon's own journal, collected when it has ended), `step`, `end`.
Whoever judges reads these lines and nothing else, so that a run can be judged again, anywhere.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "history.ndjson"
Line = dict[str, Any]


def now_ns() -> int:
    """The one clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Recorder:
    """Appends lines; any thread may."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / FILE).open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, kind: str, at_ns: int | None = None, **facts: object) -> None:
        """Write a line down at once; without `at_ns` it happened now."""
        line = json.dumps({"at_ns": now_ns() if at_ns is None else at_ns, "kind": kind, **facts}, separators=(",", ":"))
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        """No more lines."""
        with self._lock:
            self._file.close()


def lines(folder: Path, name: str = FILE) -> Iterator[Line]:
    """The lines of a run, in order of their writing. A last line cut off by a crash is left out."""
    with (folder / name).open(encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                yield json.loads(text)
