"""A toy app beside one daemon: each slot it asks whether it may act, and if so writes to both resources with the token.

Usage: app.py NAME DAEMON_SOCKET ELECTION RESOURCE_DIR SLOT_S PROMISE. Standard library only. Between the yes and the write stands
the gap that no lease can close: when a run freezes the app there, the unfenced resource must show a stale write, or the run proved
nothing.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import time


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=0.5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(0.5)
        self.sock.connect(self._path)


def ask(path: str, election: str, promise: str) -> dict[str, object]:
    """The daemon's answer; everything but a clear yes is a no."""
    connection = _Unix(path)
    try:
        connection.request("GET", f"/is-leader/{election}?promise={promise}")
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        return answer if reply.status == 200 else {}
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()


def write(path: str, line: dict[str, object]) -> None:
    """One write; a resource that is away loses it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        connection.connect(path)
        connection.sendall(json.dumps(line).encode() + b"\n")
        connection.recv(16)


def boot_ns() -> int:
    """Our clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main() -> None:
    """Run the job of each slot while we lead; USR1 asks for one freeze between a yes and its write."""
    name, path, election, folder, slot_s, promise = sys.argv[1:7]
    slot_ns = int(float(slot_s) * 1e9)
    freeze: list[bool] = []
    signal.signal(signal.SIGUSR1, lambda *_: freeze.append(True))
    while True:
        slot = boot_ns() // slot_ns + 1
        time.sleep(max(0.0, (slot * slot_ns - boot_ns()) / 1e9))
        asked_ns = boot_ns()
        answer = ask(path, election, promise)
        # Counted from the question by how long it is, as the documentation says: our clock may have begun at another instant.
        if not answer or boot_ns() >= asked_ns + int(str(answer["valid_for_ms"])) * 1_000_000:
            continue
        if freeze:
            freeze.clear()
            signal.raise_signal(signal.SIGSTOP)  # as a collector or a paused machine would, after the check and before the write
        line = {"app": name, "token": answer["token"], "slot": slot}
        for resource in ("fenced", "unfenced"):
            try:
                write(f"{folder}/{resource}.sock", line)
            except OSError:
                pass


if __name__ == "__main__":
    main()
