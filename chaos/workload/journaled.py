"""`journaled.py JOURNAL ARGUMENTS...`: the leaderd command as it is, with every promise written down before it is given.

Each yes goes through `Board._judge`, whatever surface asked. A line has when it was given, by which
life of the daemon, in which term, and until when it holds.
It is in the kernel's hands before the answer leaves, so a killed daemon has promised nothing that is not written down.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

from chaos.workload import clocks, life
from chaos.workload.clocks import SkewFile
from leaderd import __main__ as leaderd
from leaderd.board import Answer, Board, Enter
from leaderd.clock import Instant

CLOCK_ENV = "LEADERD_CHAOS_CLOCK"
"""The file of a clock that the daemon is to go by (`chaos.workload.clocks`)."""


def keep(path: str, skew: SkewFile | None = None) -> None:
    """From now on all boards of this process write their promises there; by `skew` they are told in the machine's own time."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    judge, ours = Board._judge, life.of("self")

    def judged(
        self: Board, name: str, instant: Instant, enter: Enter, promise_s: float | None, min_valid_s: float, token: int | None
    ) -> Answer:
        answer = judge(self, name, instant, enter, promise_s, min_valid_s, token)
        if answer.leader and answer.promised_until_s is not None:
            instants = (answer.promised_until_s, answer.now_s)
            until_ns, at_ns = (math.floor((at_s if skew is None else skew.get().true(at_s)) * 1e9) for at_s in instants)
            line = {"at_ns": at_ns, "life": ours, "election": name, "token": answer.token, "until_ns": until_ns}
            os.write(file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        return answer

    Board._judge = judged  # type: ignore[method-assign]


if __name__ == "__main__":
    faked = os.environ.pop(CLOCK_ENV, None)
    keep(sys.argv[1], None if faked is None else clocks.obey(Path(faked)))
    sys.argv[:2] = ["leaderd"]
    sys.exit(leaderd.main())
