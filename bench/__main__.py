"""`python -m bench [NAME...] [--quick] [--write]`: measure, and print a table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from bench import failover, footprint, handover, serving
from bench.stats import Figure, table

BENCHES = {"handover": handover.run, "failover": failover.run, "footprint": footprint.run, "serving": serving.run}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARKER = "<!-- figures: written by `python -m bench --write` -->"


def machine() -> str:
    """What it was measured on, without names."""
    return (
        f"{os.cpu_count()} processors, {platform.system()} {platform.release().split('-')[0]}, CPython {platform.python_version()}"
    )


def main() -> int:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="few rounds: a first look, not for quoting")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    figures: list[Figure] = []
    for name in options.names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = BENCHES[name](options.quick)
        print(table(found), flush=True)
        figures += found
    if options.write:
        head = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
        PAGE.write_text(f"{head}{MARKER}\n\nMachine: {machine()}.\n\n{table(figures)}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
