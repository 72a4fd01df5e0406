"""`GET /is-leader` over kept-alive connections, against a bare aiohttp handler that returns constant bytes, in alternation."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import NamedTuple

from bench import process
from bench.ground import Ground
from bench.stats import Figure, median, spread

CONNECTIONS = 32
GOAL = 0.9
PATH = "/is-leader/jobs-0?promise=0"
_BARE = """
import sys
from aiohttp import web
body = b'{"leader": true, "padding": "' + b"x" * 300 + b'"}'
async def handler(request):
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_get("/is-leader/{name}", handler)
where = {"path": sys.argv[1]} if "/" in sys.argv[1] else {"host": "127.0.0.1", "port": int(sys.argv[1])}
web.run_app(app, access_log=None, print=lambda *_: print("up", flush=True), **where)
"""


class Sample(NamedTuple):
    """One burst of load: requests per second, processor microseconds of the server for each, latency."""

    per_s: float
    cpu_us: float
    p99_us: float


def burst(pid: int, address: str, seconds: float) -> Sample:
    """Load the server at `address`, whose process is `pid`."""
    before_s = process.usage(pid).cpu_s
    command = [sys.executable, "-m", "bench.load", address, PATH, str(CONNECTIONS), str(seconds)]
    got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Sample(got["per_s"], (process.usage(pid).cpu_s - before_s) / got["count"] * 1e6, got["p99_us"])


def compare(name: str, ours: tuple[int, str], bare: tuple[int, str], rounds: int, seconds: float) -> Figure:
    """Ours and the bare handler in turn; who goes first changes from round to round."""
    mine: list[Sample] = []
    theirs: list[Sample] = []
    for number in range(-1, rounds):
        turns = [(ours, mine), (bare, theirs)]
        for server, into in turns if number % 2 == 0 else reversed(turns):
            sample = burst(server[0], server[1], seconds if number >= 0 else 0.5)
            if number >= 0:  # the first round warms up
                into.append(sample)
    each = [a.per_s / b.per_s for a, b in zip(mine, theirs, strict=True)]
    text = f"{spread(each, '')} in {rounds} rounds; " + " against ".join(
        f"{median([s.per_s for s in samples]):.0f}/s, {median([s.cpu_us for s in samples]):.1f} us of processor each, "
        f"p99 {median([s.p99_us for s in samples]) / 1e3:.1f} ms"
        for samples in (mine, theirs)
    )
    values = {"ratios": each, "per_s": [s.per_s for s in mine], "bare_per_s": [s.per_s for s in theirs]}
    title = f"`GET /is-leader`, keep-alive, {CONNECTIONS} connections, {name}: requests/s as a ratio to a bare aiohttp handler"
    return Figure(title, f">= {GOAL:g}", text, median(each) >= GOAL, {**values})


def run(ground: Ground) -> list[Figure]:
    """Measure over TCP and over the Unix socket."""
    rounds, seconds = (3, 1.0) if ground.quick else (8, 3.0)
    figures = []
    bares = []
    with ground.bed("local") as bed:
        daemon = ground.daemon(bed.url("serving"), listen=True)
        try:
            daemon.wait_led(10.0)
            port = daemon.port("app")
            unix = ground.folder / "bare.sock"
            for name, address, bare_at, bare_address in (
                ("TCP", f"127.0.0.1:{port}", str(free_port()), "127.0.0.1:{}"),
                ("Unix socket", f"unix:{daemon.socket}", str(unix), "unix:{}"),
            ):
                bare = subprocess.Popen([sys.executable, "-c", _BARE, bare_at], stdout=subprocess.PIPE)
                bares.append(bare)
                assert bare.stdout is not None
                bare.stdout.readline()
                time.sleep(0.2)
                pair = (daemon.pid, address), (bare.pid, bare_address.format(bare_at))
                figures.append(compare(name, *pair, rounds, seconds))
        finally:
            daemon.end()
            for bare in bares:
                bare.kill()
                bare.wait()
                assert bare.stdout is not None
                bare.stdout.close()
    return figures


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
