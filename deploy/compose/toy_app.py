"""A toy app beside leaderd: a job each second of the clock, only while its daemon says yes, written with the token to the resource.

A slot is a second. One that comes late, because the one before it took long, is still run; one that is over is left out.
It asks over the socket in LEADERD_SOCKET, or over loopback at LEADERD_ADDRESS (`127.0.0.1:4040`) where it shares the daemon's
network.
"""

import http.client
import json
import os
import signal
import socket
import sys
import time

ELECTION = "jobs"


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.environ["LEADERD_SOCKET"])


def daemon() -> http.client.HTTPConnection:
    """A connection to our daemon."""
    if address := os.environ.get("LEADERD_ADDRESS"):
        return http.client.HTTPConnection(address, timeout=0.5)
    return Unix("localhost", timeout=0.5)


def exchange(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request and its answer."""
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def job(slot: int) -> None:
    """The job of one second; everything but a clear yes is a no, and the resource has the last word."""
    status, text = exchange(daemon(), "GET", f"/is-leader/{ELECTION}?promise=500ms")
    if status != 200:
        return
    answer = json.loads(text)
    if time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= int(answer["valid_until_boottime_ns"]):
        return
    said = {"slot": slot, "app": os.environ["APP"], "token": answer["token"]}
    status, _ = exchange(http.client.HTTPConnection(os.environ["RESOURCE"], timeout=0.5), "POST", "/jobs", json.dumps(said))
    print(json.dumps({**said, "status": status}), flush=True)


def main() -> None:
    """Wake at each second."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    slot = int(time.time())
    while True:
        slot = max(slot + 1, int(time.time()))
        time.sleep(max(0.0, slot - time.time()))
        try:
            job(slot)
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(json.dumps({"skipped": str(error)}), flush=True)


if __name__ == "__main__":
    main()
