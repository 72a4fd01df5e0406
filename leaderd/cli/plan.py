"""`leaderd plan`: what this store and these timings mean, in numbers; exit 1 when they are not safe."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import Sequence

from leaderd.cli.config_flags import PRECEDENCE, add_config_flags, load_with
from leaderd.clock import BootClock
from leaderd.config.model import Config
from leaderd.config.problems import plain
from leaderd.config.show import as_report
from leaderd.configured import configured_store
from leaderd.errors import EXIT_CONFIG, EXIT_OK
from leaderd.planning import Fact, Live, Plan, make_plan
from leaderd.probing import probe
from leaderd.stores.base import Identity

EXIT_UNSAFE = 1
EPILOG = f"""\
{PRECEDENCE}

Opens a session in the store to see which ttl it grants and how long renewals take, and closes it again; `--offline` does not.
exit codes: 0 safe, 1 unsafe timings, 2 usage, 78 bad configuration

example:
  leaderd plan --store etcd://etcd-0:2379/leaderd --election daily-report --ttl 5s --instances 40
"""


def main(argv: Sequence[str]) -> int:
    """Print the plan."""
    options = _parser().parse_args(argv)
    config = load_with(options)
    if isinstance(config, list):
        print(as_report(config), file=sys.stderr)
        return EXIT_UNSAFE if all(problem.key.startswith("timing.") for problem in config) else EXIT_CONFIG
    seen: Live | str = "not asked" if options.offline else asyncio.run(_probe(config))
    live = seen if isinstance(seen, Live) else None
    plan = make_plan(config.store.address.kind, config.timing, options.instances, live)
    print(_as_json(config, plan, seen) if options.output == "json" else _as_table(config, plan, seen))
    return EXIT_UNSAFE if plan.unsafe else EXIT_OK


async def _probe(config: Config) -> Live | str:
    clock = BootClock(jump_limit_s=1.0)
    store = configured_store(config, Identity(f"{config.instance} (plan)", secrets.token_hex(8)), clock)
    return await probe(store, config.timing.ttl_s, clock)


def _as_table(config: Config, plan: Plan, seen: Live | str) -> str:
    width = max(len(fact.words) for fact in plan.facts)
    lines = [plain(f"{config.store.address.kind}, {config.shown['store.url'][0]}"), ""]
    lines += [f"  {fact.words:<{width}}  {_number(fact):>16}   {fact.meaning}" for fact in plan.facts]
    if isinstance(seen, str):
        lines += ["", plain(f"the store was not asked: {seen}" if seen != "not asked" else "the store was not asked (--offline)")]
    lines += ["", *(f"UNSAFE: {problem}" for problem in plan.unsafe)] if plan.unsafe else ["", "safe"]
    return "\n".join(lines)


def _as_json(config: Config, plan: Plan, seen: Live | str) -> str:
    facts = {fact.name: round(fact.value, 6) for fact in plan.facts}
    found = {"store": config.store.address.kind, **facts, "unsafe": list(plan.unsafe)}
    found["not_asked"] = seen if isinstance(seen, str) else None
    return json.dumps(found, indent=2)


def _number(fact: Fact) -> str:
    if fact.unit == "s":
        return f"{fact.value * 1000:.1f} ms" if fact.value < 0.1 else f"{fact.value:.2f} s"
    return f"{fact.value:.1f} {fact.unit}"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of instances: 1 to 100000")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderd plan",
        description="What this store and these timings mean in numbers: detection, fail-over, hand-over, margin, load.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--instances", type=_count, default=3, metavar="N", help="how many daemons share the store (default: 3)")
    parser.add_argument("--offline", action="store_true", help="do not ask the store")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")
    add_config_flags(parser)
    return parser
