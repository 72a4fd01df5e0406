"""`leaderd config check|show|schema`: what the daemon would run with, and why it would not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from leaderd.cli.config_flags import PRECEDENCE, add_config_flags, load_with
from leaderd.config.model import Config
from leaderd.config.problems import plain
from leaderd.config.schema import json_schema
from leaderd.config.show import as_json, as_report, as_table
from leaderd.errors import EXIT_CONFIG, EXIT_OK

EPILOG = f"""\
{PRECEDENCE}

exit codes: 0 good, 2 usage, 78 bad configuration: every problem on a line of its own, on stderr

example:
  leaderd config check /etc/leaderd/leaderd.yaml
"""


def main(argv: Sequence[str]) -> int:
    """Check, show or describe the configuration."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.action == "schema":
        print(json.dumps(json_schema(), indent=2))
        return EXIT_OK
    if options.file is not None:
        if options.config is not None:
            parser.error("FILE and --config are the same: give one")
        options.config = options.file
    config = load_with(options)
    if isinstance(config, list):
        print(as_report(config), file=sys.stderr)
        return EXIT_CONFIG
    if options.action == "show":
        print(as_json(config) if options.output == "json" else as_table(config))
    else:
        _say_ok(config)
    return EXIT_OK


def _say_ok(config: Config) -> None:
    for warning in config.warnings:
        print(plain(f"warning: {warning}"), file=sys.stderr)
    elections = ", ".join(election.name for election in config.elections)
    print(plain(f"ok: {config.instance} stands in {elections} on {config.shown['store.url'][0]}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderd config",
        description="check: name all problems at once. show: each key, its value and origin. schema: the JSON schema of the file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=["check", "show", "schema"])
    parser.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="how to show (default: table)")
    add_config_flags(parser)
    return parser
