"""kazoo's `Election`, used as its documentation shows: a function that runs while it leads.

Usage: kazoo_election.py HOSTS PATH SOCKET. SIGTERM lets the function return and closes the session, as an app that ends in an
orderly way does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from kazoo.client import KazooClient

from chaos.subjects.held import serve

_LEAVES_WITHIN_S = 2.0


def main() -> None:
    """Stand, and answer for whether the function runs."""
    hosts, path, socket = sys.argv[1:4]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of all threads to come: it is waited for below
    running, over = threading.Event(), threading.Event()

    def lead() -> None:
        running.set()
        try:
            over.wait()  # the work; nothing interrupts it when the session is lost
        finally:
            running.clear()

    client = KazooClient(hosts=hosts, timeout=3.0)
    threading.Thread(target=serve, args=(socket, running.is_set), daemon=True).start()
    client.start()
    election = client.Election(path, f"pid-{os.getpid()}")

    def stand() -> None:
        try:
            election.run(lead)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # it is over, by its own end or by an error

    standing = threading.Thread(target=stand, daemon=True)
    standing.start()
    signal.sigwait({signal.SIGTERM})
    over.set()
    election.cancel()
    standing.join(_LEAVES_WITHIN_S)
    client.stop()


if __name__ == "__main__":
    main()
