"""Apache Curator's `LeaderSelector` in a JVM of its own, used as its documentation shows: a function that Curator may interrupt.

Usage: curator_selector.py SOCKET JAVA_COMMAND... The JVM tells each `acquired` and each `lost` as it happens, and that is what is
answered. It shares our process group, so that what freezes or kills the one does the same to the other. SIGTERM closes the
selector, as an app that ends in an orderly way does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from chaos.subjects.held import serve

_CLOSES_WITHIN_S = 2.0


class Terms:
    """What the JVM has told. `number`: of the last term, unlike any other candidate's; `leading`: whether it lasts."""

    def __init__(self) -> None:
        self.number = os.getpid() * 1000
        self.leading = False

    def take(self, line: str) -> None:
        """One line of the JVM's."""
        event = json.loads(line)["event"]
        if event == "acquired":
            self.number += 1
        if event in ("acquired", "lost"):
            self.leading = event == "acquired"


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a JVM leaves a signal alone that it finds ignored


def main() -> None:
    """Stand, and answer for whether the JVM believes that it leads."""
    socket, *command = sys.argv[1:]
    terms = Terms()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    jvm = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_ignore_sigterm)
    assert jvm.stdin is not None
    assert jvm.stdout is not None
    threading.Thread(target=serve, args=(socket, lambda: terms.leading, lambda: terms.number), daemon=True).start()

    def leave() -> None:
        signal.sigwait({signal.SIGTERM})
        assert jvm.stdin is not None
        jvm.stdin.close()  # the selector's word for `quit`
        threading.Timer(_CLOSES_WITHIN_S, jvm.kill).start()

    threading.Thread(target=leave, daemon=True).start()
    for line in jvm.stdout:
        terms.take(line)
    sys.exit(jvm.wait())


if __name__ == "__main__":
    main()
