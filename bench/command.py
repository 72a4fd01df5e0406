"""`leaderd is-leader` as a shell runs it: from the fork to the exit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.ground import Ground
from bench.stats import Figure, median, percentile, spread_ms

LIMIT_MS = 100.0


def run(ground: Ground) -> list[Figure]:
    """Measure against a daemon on the local store: the store makes no difference here."""
    count = 10 if ground.quick else 50
    program = str(Path(sys.executable).parent / "leaderd")
    with ground.bed("local") as bed:
        daemon = ground.daemon(bed.url("command"))
        try:
            daemon.wait_led(10.0)
            command = [program, "is-leader", "jobs-0", "-q", "--socket", str(daemon.socket)]
            ours = [_timed(command, check=True) for _ in range(count)]
            bare = [_timed([sys.executable, "-c", "pass"], check=True) for _ in range(count)]
        finally:
            daemon.end()
    p99_ms = percentile(ours, 0.99) * 1e3
    text = f"{spread_ms(ours)}, p99 {p99_ms:.0f} ms; a Python that does nothing: {spread_ms(bare)}"
    return [
        Figure("`leaderd is-leader`, wall clock", f"<= {LIMIT_MS:g} ms", text, median(ours) * 1e3 <= LIMIT_MS, {"took_s": ours})
    ]


def _timed(command: list[str], *, check: bool) -> float:
    begun_s = time.monotonic()
    subprocess.run(command, check=check)
    return time.monotonic() - begun_s
