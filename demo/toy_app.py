"""A toy app as it would stand beside leaderd in a pod: it has a job each second, and asks its daemon before it runs one.

Usage: toy_app.py NAME SOCKET LEDGER. Appends a line of JSON to LEDGER for each job it ran. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, promise: str = "500ms") -> dict[str, object]:
    """May I act for as long as `promise`? Everything but a clear yes is a no."""
    connection = UnixConnection(path, timeout_s=0.5)
    try:
        connection.request("GET", f"/is-leader/report?promise={promise}")
        answer = json.load(connection.getresponse())
    except (OSError, ValueError, http.client.HTTPException):
        return {"leader": False}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {"leader": False}


def boot_ns() -> int:
    """The clock of `valid_until_boottime_ns`: the daemon and the app share a kernel."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main() -> None:
    """Run the job of each second while we lead."""
    name, path, ledger_path = sys.argv[1:4]
    with open(ledger_path, "a", encoding="utf-8", buffering=1) as ledger:
        while True:
            now_ns = boot_ns()
            slot = now_ns // 1_000_000_000 + 1
            time.sleep((slot * 1_000_000_000 - now_ns) / 1e9)
            answer = ask(path)
            # The job itself. A real one compares the deadline again before each step, or hands the token to what it writes to.
            if answer.get("leader") and boot_ns() < int(str(answer["valid_until_boottime_ns"])):
                run = {"slot": slot, "app": name, "token": answer["token"], "at_ns": boot_ns()}
                ledger.write(json.dumps(run) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
