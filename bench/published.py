"""`python -m bench.published JOURNAL ARGUMENTS...`: the leaderd command as it is, and when it published each change, written down.

The runner puts every change on the board, once, before anybody hears of it; that instant is taken, on CLOCK_BOOTTIME. Changes have
a number, the election's `index`, which all surfaces tell with them: so a receipt can be put beside the change.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from leaderd import __main__ as leaderd
from leaderd.board import Board
from leaderd.election.state import Snapshot


def keep(path: str) -> None:
    """From now on all boards of this process write their changes there: election, index, nanoseconds since boot."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    publish = Board.publish

    def published(self: Board, snapshot: Snapshot) -> None:
        at_ns, before = time.clock_gettime_ns(time.CLOCK_BOOTTIME), self.snapshot.elections
        publish(self, snapshot)
        changed = [view for name, view in snapshot.elections.items() if view.index != before[name].index]
        if changed:
            os.write(file, "".join(f"{view.name} {view.index} {at_ns}\n" for view in changed).encode())

    Board.publish = published  # type: ignore[method-assign]


def changes(journal: Path, election: str) -> list[tuple[int, int]]:
    """Index and instant of every change that is written down there, in order."""
    lines = (line.split() for line in journal.read_text(encoding="utf-8").splitlines())
    return [(int(index), int(at_ns)) for name, index, at_ns in lines if name == election]


if __name__ == "__main__":
    keep(sys.argv[1])
    sys.argv[:2] = ["leaderd"]
    sys.exit(leaderd.main())
