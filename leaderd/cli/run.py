"""`leaderd run`: the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from leaderd.cli.config_flags import PRECEDENCE, add_config_flags, load_with
from leaderd.config.show import as_report
from leaderd.errors import EXIT_CONFIG

EPILOG = f"""\
{PRECEDENCE}

signals: SIGTERM and SIGINT answer "not leader" at once, release the store when the promises have lapsed, exit 0 (a second one
releases at once); SIGHUP reads file and TLS material again.
exit codes: 0 stopped, 70 internal error, 78 bad configuration

example:
  leaderd run --store etcd://etcd-0:2379,etcd-1:2379/leaderd --election daily-report
"""


def main(argv: Sequence[str]) -> int:
    """Load the configuration, or say everything that is wrong with it; then be the daemon."""
    options = _parser().parse_args(argv)
    reload = partial(load_with, options)
    config = reload()
    if isinstance(config, list):
        print(as_report(config), file=sys.stderr)
        return EXIT_CONFIG
    from leaderd import daemon

    return daemon.main(config, reload)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderd run",
        description="Stand in elections, and answer who leads.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config_flags(parser)
    return parser
