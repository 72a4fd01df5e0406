"""`GET /is-leader` at 1,000 requests a second over kept-alive connections of the Unix socket: how long an app waits."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.ground import Ground
from bench.stats import Figure, median

PER_S = 1000
GOAL_MS = 1.0
_LOAD = """
import json, socket, sys, time
path, per_s, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
connections = []
for _ in range(8):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connections.append(connection)
request = b"GET /is-leader/jobs-0 HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
waits_ms, begun = [], time.perf_counter()
for number in range(int(per_s * seconds)):
    due = begun + number / per_s
    while (left := due - time.perf_counter()) > 0:
        time.sleep(left)
    connection = connections[number % len(connections)]
    connection.sendall(request)
    reply = b""
    while b"}}" not in reply:
        reply += connection.recv(65536)
    # From when it was due, so that a slow answer is not hidden by the requests that it delays.
    waits_ms.append((time.perf_counter() - due) * 1e3)
waits_ms.sort()
print(json.dumps({share: waits_ms[int(len(waits_ms) * float(share))] for share in ("0.5", "0.99", "0.999")}))
"""


def run(ground: Ground) -> list[Figure]:
    """Measure beside a daemon on the local store: the store makes no difference here."""
    rounds, seconds = (3, 2.0) if ground.quick else (8, 10.0)
    samples: list[dict[str, float]] = []
    with ground.bed("local") as bed:
        daemon = ground.daemon(bed.url("pacing"))
        try:
            daemon.wait_led(10.0)
            for _ in range(rounds):
                command = [sys.executable, "-c", _LOAD, str(daemon.socket), str(PER_S), str(seconds)]
                samples.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        finally:
            daemon.end()
    values = {share: [sample[share] for sample in samples] for share in ("0.5", "0.99", "0.999")}
    p50, p99, p999 = (median(values[share]) for share in values)
    text = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms; medians of {rounds} rounds of {seconds:g} s"
    title = f"`GET /is-leader` at {PER_S:,} requests/s over the Unix socket, p99"
    return [Figure(title, f"<= {GOAL_MS:g} ms", text, p99 <= GOAL_MS, {"p99_ms": values["0.99"]})]
