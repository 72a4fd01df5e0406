"""`GET /is-leader` at 1,000 requests a second over kept-alive connections of the Unix socket: how long an app waits.

Beside it, in turn, what the machine allows: an asyncio server that parses nothing and sends constant bytes of the same size.
"""

from __future__ import annotations

import json
import subprocess
import sys

from bench.ground import Ground
from bench.stats import Figure, median

CONNECTIONS = 8
PER_S = 1000
GOAL_MS = 1.0
PATH = "/is-leader/jobs-0"
_BARE = """
import asyncio, sys
body = b'{"leader": true, "padding": "' + b"x" * 300 + b'"}'
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body
class Bare(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(answer)
async def main():
    server = await asyncio.get_running_loop().create_unix_server(Bare, sys.argv[1])
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def burst(path: str, seconds: float) -> list[float]:
    """Median, p99 and p99.9 of the wait, in milliseconds."""
    words = [f"unix:{path}", PATH, str(CONNECTIONS), str(PER_S), str(seconds)]
    done = subprocess.run([sys.executable, "-m", "bench.paced", *words], check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


def run(ground: Ground) -> list[Figure]:
    """Measure beside a daemon on the local store: the store makes no difference here."""
    rounds, seconds = (3, 2.0) if ground.quick else (8, 10.0)
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    with ground.bed("local") as bed:
        daemon = ground.daemon(bed.url("pacing"))
        place = str(ground.folder / "bare.sock")
        server = subprocess.Popen([sys.executable, "-c", _BARE, place], stdout=subprocess.PIPE)
        assert server.stdout is not None
        try:
            server.stdout.readline()
            daemon.wait_led(10.0)
            for number in range(rounds):
                turns = [(str(daemon.socket), ours), (place, bare)]
                for path, into in turns if number % 2 == 0 else reversed(turns):
                    into.append(burst(path, seconds))
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
            daemon.end()
    p99_ms = median([sample[1] for sample in ours])
    text = f"{_shown(ours)}; medians of {rounds} rounds of {seconds:g} s; in turn with a bare asyncio server: {_shown(bare)}"
    values = {"p99_ms": [sample[1] for sample in ours], "bare_p99_ms": [sample[1] for sample in bare]}
    title = f"`GET /is-leader` at {PER_S:,} requests/s over the Unix socket, p99"
    return [Figure(title, f"<= {GOAL_MS:g} ms", text, p99_ms <= GOAL_MS, values)]


def _shown(samples: list[list[float]]) -> str:
    p50, p99, p999 = (median([sample[which] for sample in samples]) for which in range(3))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms"
