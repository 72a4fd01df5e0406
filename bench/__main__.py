"""Measure, and print a table: figure, goal, measured, reached. Without a name, everything."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench import client, command, failover, footprint, handover, machine, pacing, page, promise, requests, serving, watchers
from bench.ground import Ground, ground
from bench.stats import Figure, table

BENCHES: dict[str, Callable[[Ground], list[Figure]]] = {
    "handover": handover.run,
    "promise": promise.run,
    "failover": failover.run,
    "footprint": footprint.run,
    "requests": requests.run,
    "command": command.run,
    "client": client.run,
    "pacing": pacing.run,
    "watchers": watchers.run,
    "serving": serving.run,
}


def main() -> int:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="few rounds, in under three minutes: a first look, not for quoting")
    parser.add_argument("--json", metavar="FILE", type=Path, help="add the figures with all values to FILE, by benchmark")
    parser.add_argument("--write", action="store_true", help="the same with docs/figures.json, and show them in docs/benchmarks.md")
    options = parser.parse_args()
    file = page.FIGURES if options.write else options.json
    recorded = json.loads(file.read_text()) if file is not None and file.exists() else {}
    figures: list[Figure] = []
    failed: list[str] = []
    print(f"{machine.description()}\n", flush=True)
    for name in options.names or BENCHES:
        load = 0.0 if options.quick else machine.wait_quiet()
        begun_s = time.monotonic()
        try:
            with ground(options.quick) as place:
                found = BENCHES[name](place)
        except Exception as error:  # noqa: BLE001 - an hour of other figures is not to be lost for one that cannot be taken
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        print(f"{name}: {time.monotonic() - begun_s:.0f} s", file=sys.stderr, flush=True)
        figures += found
        recorded[name] = {"machine": machine.description(), "load": load, "figures": [asdict(figure) for figure in found]}
        if file is not None:
            file.write_text(page.as_json(recorded))
    print(table(figures), flush=True)
    if options.write:
        page.write(recorded, list(BENCHES))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
