"""`leaderd plan`: what this store and these timings mean, in numbers; exit 1 when they are not safe."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace

from leaderd.cli.config_flags import PRECEDENCE, add_config_flags, load_with
from leaderd.clock import BootClock
from leaderd.config.model import Config
from leaderd.config.problems import plain
from leaderd.config.show import as_report
from leaderd.configured import configured_store
from leaderd.doctor.findings import Patient
from leaderd.doctor.words import tick_s
from leaderd.errors import EXIT_CONFIG, EXIT_OK
from leaderd.planning import Fact, Live, Plan, make_plan
from leaderd.probing import probe
from leaderd.stores.base import Identity

EXIT_UNSAFE = 1
EPILOG = f"""\
{PRECEDENCE}

Opens a session in the store to see which ttl it grants and how long renewals take, and closes it again; `--offline` does not.
exit codes: 0 safe, 1 unsafe timings, or not shown to be safe because the store did not answer, 2 usage, 78 bad configuration
With --offline 0 says only that the configuration is safe on a store that grants the ttl it asks for.

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
    return EXIT_UNSAFE if plan.unsafe or (live is None and not options.offline) else EXIT_OK


async def _probe(config: Config) -> Live | str:
    clock = BootClock(jump_limit_s=1.0)
    store = configured_store(config, Identity(f"{config.instance} (plan)", secrets.token_hex(8)), clock)
    seen = await probe(store, config.timing.ttl_s, clock)
    if isinstance(seen, str) or config.store.address.kind != "zookeeper":
        return seen
    asked = config.store
    return replace(
        seen,
        tick_s=await tick_s(Patient(asked.address, asked.tls, asked.credentials, config.timing, (), clock.now_s, clock.wall_s)),
    )


def _as_table(config: Config, plan: Plan, seen: Live | str) -> str:
    width = max(len(fact.words) for fact in plan.facts)
    lines = [plain(f"{config.store.address.kind}, {config.shown['store.url'][0]}"), ""]
    lines += [f"  {fact.words:<{width}}  {_number(fact):>16}   {fact.meaning}" for fact in plan.facts]
    return "\n".join([*lines, "", *(f"UNSAFE: {problem}" for problem in plan.unsafe), *_verdict(plan, seen)])


def _verdict(plan: Plan, seen: Live | str) -> list[str]:
    """What may be concluded; without the store's own word less than `safe`."""
    unmeasured = "Not measured: the ttl that the store grants, and the round trip of a renewal."
    if seen == "not asked":
        return ["safe as configured; the store was not asked (--offline).", unmeasured][plan.unsafe != () :]
    if isinstance(seen, str):
        shown = plain(f"NOT SHOWN TO BE SAFE: the store was asked and did not answer: {seen}")
        return [shown, f"{unmeasured} Run it again when the store answers, or with --offline for the configuration alone."]
    return [] if plan.unsafe else ["safe"]


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
