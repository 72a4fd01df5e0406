"""What the Python client costs an app: a check through the mapped lease, token included, beside a real daemon; and its import."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.ground import Ground
from bench.stats import Figure, median, spread

CHECK_GOAL_NS = 1000.0
IMPORT_GOAL_MS = 30.0
_CHECK = """
import json, sys, timeit
from leaderd.client import Leader
leader = Leader("jobs-0", socket=sys.argv[1])
assert leader.is_leader() and leader.token
look = leader._map.token
assert look() == leader.token  # through the mapping, or else this measures the socket
def cost(statement):
    return [taken / 20000 * 1e9 for taken in timeit.repeat(statement, globals=globals(), number=20000, repeat=int(sys.argv[2]))]
print(json.dumps({"is_leader()": cost("leader.is_leader()"), "token": cost("leader.token"), "look()": cost("leader.look()")}))
"""
_IMPORT = "import time; begun = time.perf_counter(); import leaderd.client; print((time.perf_counter() - begun) * 1e3)"


def run(ground: Ground) -> list[Figure]:
    """Measure beside a daemon on the local store: the store makes no difference here."""
    rounds = 20 if ground.quick else 100
    with ground.bed("local") as bed:
        daemon = ground.daemon(bed.url("client"))
        try:
            daemon.wait_led(10.0)
            costs_ns: dict[str, list[float]] = json.loads(_python(_CHECK, str(daemon.socket), str(rounds)))
        finally:
            daemon.end()
    imports_ms = [float(_python(_IMPORT)) for _ in range(5 if ground.quick else 25)]
    figures = []
    for name, values in costs_ns.items():
        text = f"{spread(values, 'ns', 0)} in {rounds} rounds of 20,000"
        figures.append(
            Figure(f"client, `{name}` by the mapped lease", "<= 1 us", text, median(values) <= CHECK_GOAL_NS, {"ns": values})
        )
    text = spread(imports_ms, "ms", 1)
    met = median(imports_ms) < IMPORT_GOAL_MS
    return [*figures, Figure("client, `import leaderd.client`", f"< {IMPORT_GOAL_MS:g} ms", text, met, {"ms": imports_ms})]


def _python(program: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True).stdout
