"""`leaderd exec`: run a command only while this instance leads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from leaderd.cli.options import client_parser, election, seconds
from leaderd.errors import EXIT_OK

EPILOG = """\
The command gets SIGTERM in time, and SIGKILL with everything it started before leadership can be somebody else's,
also when the daemon, the store, or this wrapper has gone. What it leaves behind when it ends is killed.

environment: LEADERD_ELECTION, LEADERD_TOKEN, LEADERD_VALID_UNTIL_BOOTTIME_NS (as promised at its start), LEADERD_SOCKET
exit codes: the command's own, 128+N after signal N; 75 not leader (--skip), 76 leadership lost while it ran,
  124 waited too long, 125 failure of its own, 126 not executable, 127 not found

examples:
  leaderd exec --skip --election reports -- ./send-reports
  leaderd exec --restart --grace 2s -- ./worker --queue invoices
"""


def main(argv: Sequence[str]) -> int:
    """Parse, run, and return the exit code; a wrong command line is a failure of our own, not the command's."""
    from leaderd.exec.validity import EXIT_OWN_FAILURE

    try:
        options = _parser().parse_args(argv)
    except SystemExit as end:
        return EXIT_OK if end.code == 0 else EXIT_OWN_FAILURE
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from leaderd.cli import daemon_client
    from leaderd.errors import Fatal
    from leaderd.exec.validity import EXIT_OWN_FAILURE, Question
    from leaderd.exec.wrapper import Wish, run

    try:
        path = daemon_client.socket_path(options.socket)
    except daemon_client.Unreachable as error:
        raise Fatal(error.message, EXIT_OWN_FAILURE) from None
    wish = Wish(
        (options.command, *options.arguments),
        Question(path, options.election),
        path,
        wait_s=0.0 if options.skip else options.wait,
        min_valid_s=options.min_valid,
        grace_s=options.grace,
        restart=options.restart,
        freeze_on_doubt=options.freeze_on_doubt,
        on_run=_record if os.environ.get("LEADERD_TRACING") == "otlp" else None,
    )
    return run(wish)


def _record(began_s: float, election: str, token: int | None, code: int | None) -> None:
    # Imported when the command is over: nothing of it may delay its start, or run threads while we fork.
    from leaderd.clock import BootClock

    try:
        from leaderd.tracing import record_exec
    except ImportError:  # without leaderd[otel]; the daemon has refused the same setting, if it has it
        return
    record_exec(BootClock(1.0), began_s, election, token, code)


def _parser() -> argparse.ArgumentParser:
    parser = client_parser("exec", "Run a command only while this instance leads.", EPILOG)
    parser.usage = "leaderd exec [OPTION]... -- COMMAND [ARGUMENT]..."
    parser.add_argument("--election", type=election, metavar="NAME", help="needed when the daemon stands in several")
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument("--skip", action="store_true", help="exit 75 at once when not leader (default: wait for ever)")
    waiting.add_argument("--wait", type=seconds, metavar="5m", help="wait that long to lead, then exit 124")
    parser.add_argument("--min-valid", type=seconds, default=0.0, metavar="3s", help="start only with that much of the lease left")
    parser.add_argument(
        "--grace", type=seconds, metavar="10s", help="from SIGTERM to SIGKILL; at most half the lease, which is the default"
    )
    parser.add_argument("--restart", action="store_true", help="after a loss wait, and run it again when leading again")
    parser.add_argument("--freeze-on-doubt", action="store_true", help="stop it (SIGSTOP) while nobody confirms that we lead")
    parser.add_argument("command", metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    return parser
