"""`leaderd doctor`: what is wrong with the store as configured, found by reading; exit 1 on a finding."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence

from leaderd.cli.config_flags import PRECEDENCE, add_config_flags, load_with
from leaderd.clock import BootClock
from leaderd.config.model import Config
from leaderd.config.problems import plain
from leaderd.config.show import as_report
from leaderd.doctor.examine import examine
from leaderd.doctor.findings import CHECKS, Endpoint, Finding, Patient, Report
from leaderd.errors import EXIT_CONFIG, EXIT_OK, Fatal

EXIT_FINDING = 1
_WIDEST = 110
EPILOG = f"""\
{PRECEDENCE}

Reads only. In ZooKeeper, where a connection is a session, it opens one on each server and ends it again.
exit codes: 0 healthy, 1 a finding, 2 usage, 78 bad configuration

examples:
  leaderd doctor --config /etc/leaderd/leaderd.yaml
  leaderd doctor --store etcd://etcd-0:2379/leaderd --election daily-report -o json
"""


def main(argv: Sequence[str]) -> int:
    """Examine, and print what was found."""
    options = _parser().parse_args(argv)
    config = load_with(options)
    if isinstance(config, list):
        print(as_report(config), file=sys.stderr)
        return EXIT_CONFIG
    report = asyncio.run(_examine(config)).accepting(frozenset(options.accept))
    print(_as_json(config, report) if options.output == "json" else _as_table(config, report))
    return EXIT_FINDING if any(not found.note for found in report.findings) else EXIT_OK


async def _examine(config: Config) -> Report:
    clock = BootClock(jump_limit_s=1.0)
    store = config.store
    elections = tuple(election.name for election in config.elections)
    patient = Patient(store.address, store.tls, store.credentials, config.timing, elections, clock.now_s, clock.wall_s)
    try:
        return await examine(patient)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"kazoo", "grpc", "google"}:
            raise
        kind = store.address.kind
        raise Fatal(
            f"the {kind} store needs the Python package {error.name!r}: pip install 'leaderd[{kind}]'", EXIT_CONFIG
        ) from None


def _as_table(config: Config, report: Report) -> str:
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    lines = [plain(f"{config.store.address.kind}, {config.shown['store.url'][0]}"), "", *_endpoints(report.endpoints)]
    for found in report.findings:
        lines += ["", *_finding(found, width)]
    findings = sum(not found.note for found in report.findings)
    notes = len(report.findings) - findings
    verdict = _counted(findings, "finding") if findings else "healthy"
    return "\n".join([*lines, "", verdict + (f", {_counted(notes, 'note')}" if notes else "")])


def _endpoints(endpoints: list[Endpoint]) -> list[str]:
    where = max((len(plain(each.where)) for each in endpoints), default=0)
    version = max((len(plain(each.version)) for each in endpoints), default=0)
    lines = []
    for each in endpoints:
        if each.latency_s is None:
            lines.append(f"  FAILED  {plain(each.where)}")
        else:
            lines.append(
                f"  ok      {plain(each.where):<{where}}  {plain(each.version):<{version}}  {each.latency_s * 1000:7.1f} ms"
            )
    return lines


def _finding(found: Finding, width: int) -> list[str]:
    lines = [plain(f"{'note' if found.note else 'FINDING'}  {found.check}  {found.where}")]
    for label, text in (("what", found.what), ("why", found.why), ("do", found.remedy)):
        lines += textwrap.wrap(
            plain(text), width, initial_indent=f"  {label:<5} ", subsequent_indent=" " * 8, break_on_hyphens=False
        )
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _as_json(config: Config, report: Report) -> str:
    body = {
        "store": config.store.address.kind,
        "healthy": all(found.note for found in report.findings),
        "endpoints": [dataclasses.asdict(each) for each in report.endpoints],
        "findings": [_plainly(found) for found in report.findings if not found.note],
        "notes": [_plainly(found) for found in report.findings if found.note],
    }
    return json.dumps(body, indent=2)


def _plainly(found: Finding) -> dict[str, str]:
    return {name: getattr(found, name) for name in ("check", "where", "what", "why", "remedy")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderd doctor",
        description="What is wrong with the store, its permissions, queues and clocks; and what to do about it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="CHECK",
        choices=CHECKS,
        help=f"show findings of this check as notes; may be repeated: {', '.join(CHECKS)}",
    )
    add_config_flags(parser)
    return parser
