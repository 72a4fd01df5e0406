"""`leaderd wait`: block until the daemon has started, or until this instance leads."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from leaderd.cli import daemon_client
from leaderd.cli.options import client_parser, election, seconds
from leaderd.errors import EXIT_OK, EXIT_TIMEOUT, EXIT_USAGE, Fatal

PAUSE_S = 0.1
EPILOG = """\
exit codes: 0 it is so, 2 usage or unknown election, 124 it was not so within --max

Being told that this instance leads is no promise: ask `leaderd is-leader` before acting on it.

example:
  leaderd wait --for=started --max 30s && exec ./app
"""


def main(argv: Sequence[str]) -> int:
    """Look ten times a second until it is so."""
    options = _parser().parse_args(argv)
    deadline_s = None if options.max is None else daemon_client.now_s() + options.max
    while True:
        left_s = daemon_client.TIMEOUT_S if deadline_s is None else deadline_s - daemon_client.now_s()
        lacking = _look(options, min(daemon_client.TIMEOUT_S, max(left_s, 0.05)))
        if lacking is None:
            return EXIT_OK
        if deadline_s is not None and daemon_client.now_s() + PAUSE_S >= deadline_s:
            raise Fatal(f"waited {options.max:g}s for {options.what}: {lacking}", EXIT_TIMEOUT)
        time.sleep(PAUSE_S)


def _look(options: argparse.Namespace, timeout_s: float) -> str | None:
    """What is lacking still, or `None` when it is so. An unreachable daemon may yet come."""
    target = "/startupz"
    if options.what == "leader":
        target = f"/is-leader/{options.election}?promise=0" if options.election else "/is-leader?promise=0"
    try:
        answer = daemon_client.get(daemon_client.socket_path(options.socket), target, timeout_s)
    except daemon_client.Unreachable as exc:
        return exc.message
    if options.what == "started":
        return None if answer.status == 200 else "the daemon is still starting"
    if answer.status in {400, 404}:
        raise Fatal(answer.complaint(), EXIT_USAGE)
    body = answer.json()
    if answer.status == 200 and body.get("leader") is True:
        return None
    return f"this instance is {body.get('state', 'unknown')} ({body.get('reason', 'no reason given')})"


def _parser() -> argparse.ArgumentParser:
    parser = client_parser("wait", "Block until the daemon has started, or until this instance leads.", EPILOG)
    parser.add_argument("election", nargs="?", type=election, metavar="ELECTION", help="needed when the daemon stands in several")
    parser.add_argument("--for", dest="what", choices=["started", "leader"], required=True, help="what to wait for")
    parser.add_argument("--max", type=seconds, metavar="30s", help="for how long (default: for ever)")
    return parser
