"""Answering: `leaderd is-leader` as a command, and `/is-leader` over keep-alive against a bare aiohttp handler, in alternation."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import candidates
from bench.stats import Figure, median

CONNECTIONS = 16
_BARE = """
import sys
from aiohttp import web
body = b'{"leader": true, "padding": "' + b"x" * 300 + b'"}'
async def handler(request):
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_get("/is-leader/{name}", handler)
web.run_app(app, path=sys.argv[1], access_log=None, print=None)
"""


async def _load(path: str, request: bytes, seconds: float) -> float:
    """Requests per second over `CONNECTIONS` kept-alive connections."""
    done = 0
    end_s = time.monotonic() + seconds

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_unix_connection(path)
        while time.monotonic() < end_s:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n", 1)[0], head
            at = head.lower().index(b"content-length: ") + 16
            await reader.readexactly(int(head[at : head.index(b"\r", at)]))
            done += 1
        writer.close()

    begun_s = time.monotonic()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return done / (time.monotonic() - begun_s)


def _wait_for(path: Path) -> None:
    end_s = time.monotonic() + 10.0
    while not path.exists():
        if time.monotonic() > end_s:
            raise TimeoutError(f"nobody listens on {path}")
        time.sleep(0.02)


def run(quick: bool) -> list[Figure]:
    """Measure over the Unix socket."""
    rounds, seconds = (3, 1.0) if quick else (10, 2.0)
    figures = []
    with tempfile.TemporaryDirectory(prefix="ld-bench-") as name:
        folder = Path(name)
        numbers = itertools.count()
        daemon = candidates.leaderd(f"local://{folder}/store", f"pod-{next(numbers)}", folder, "10s")
        daemon.wait_led(10.0)
        socket = folder / "pod-0.sock"
        bare_socket = folder / "bare.sock"
        bare = subprocess.Popen([sys.executable, "-c", _BARE, str(bare_socket)])
        try:
            _wait_for(bare_socket)
            request = b"GET /is-leader/jobs-0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ours, theirs, ratios = [], [], []
            for _ in range(rounds):
                ours.append(asyncio.run(_load(str(socket), request, seconds)))
                theirs.append(asyncio.run(_load(str(bare_socket), request, seconds)))
                ratios.append(ours[-1] / theirs[-1])
            text = (
                f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); {median(ours):.0f} against {median(theirs):.0f} per s"
            )
            title = "`GET /is-leader`, keep-alive, against a bare aiohttp handler: ratio of requests/s"
            figures.append(Figure(title, ">= 0.9", text, median(ratios) >= 0.9))
            took_ms = []
            program = str(Path(sys.executable).parent / "leaderd")
            for _ in range(10 if quick else 30):
                begun_s = time.monotonic()
                subprocess.run([program, "is-leader", "jobs-0", "-q", "--socket", str(socket)], check=True)
                took_ms.append((time.monotonic() - begun_s) * 1e3)
            text = f"median {median(took_ms):.0f} ms, max {max(took_ms):.0f} ms"
            figures.append(Figure("`leaderd is-leader`, wall clock", "<= 100 ms", text, median(took_ms) <= 100))
        finally:
            bare.terminate()
            bare.wait()
            daemon.end()
    return figures
