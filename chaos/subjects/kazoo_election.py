"""kazoo's `Election`, used as its documentation shows: a function that runs while it leads.

Usage: kazoo_election.py HOSTS PATH SOCKET.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from kazoo.client import KazooClient

from chaos.subjects.held import serve


def main() -> None:
    """Stand, and answer for whether the function runs."""
    hosts, path, socket = sys.argv[1:4]
    running = threading.Event()

    def lead() -> None:
        running.set()
        try:
            threading.Event().wait()  # the work; nothing interrupts it when the session is lost
        finally:
            running.clear()

    client = KazooClient(hosts=hosts, timeout=3.0)
    threading.Thread(target=serve, args=(socket, running.is_set), daemon=True).start()
    client.start()
    client.Election(path, f"pid-{os.getpid()}").run(lead)


if __name__ == "__main__":
    main()
