"""`leaderd status`: who leads, as a table or as the daemon's JSON; once or again and again (on a terminal drawn by `watch`)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from leaderd.cli import daemon_client
from leaderd.cli.cells import pause_lines, text
from leaderd.cli.options import client_parser, election
from leaderd.errors import EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE, Fatal

REDRAW_S = 1.0
QUEUE_SHOWN = 5
HEADINGS = ("ELECTION", "LEADER", "TOKEN", "STATE HERE", "LEASE", "QUEUE")
EPILOG = """\
LEASE is how much of this instance's lease is left; * marks this instance; QUEUE is who stands, in order.
exit codes: 0 answered, 2 usage or unknown election, 3 the daemon gave no answer
"""
Body = dict[str, object]


def main(argv: Sequence[str]) -> int:
    """Print the status; with `--watch` until interrupted."""
    options = _parser().parse_args(argv)
    if not options.watch:
        print(_render(options))
        return EXIT_OK
    if sys.stdout.isatty() and options.output == "table":
        from leaderd.cli.watch import watch

        watch(daemon_client.socket_path(options.socket), options.election, sys.stdout)
    while True:
        try:
            said = _render(options)
        except daemon_client.Unreachable as exc:
            # It may come back: that is what one watches for.
            said = json.dumps({"error": exc.message}) if options.output == "json" else exc.message
        print(said, flush=True)
        time.sleep(REDRAW_S)


def _render(options: argparse.Namespace) -> str:
    answer = daemon_client.get(daemon_client.socket_path(options.socket), "/v1/elections")
    if answer.status != 200:
        raise Fatal(answer.complaint(), EXIT_UNREACHABLE)
    body = answer.json()
    elections = body.get("elections")
    if not isinstance(elections, list):
        raise daemon_client.Unreachable("what answers at the socket is no leaderd: its answer is not the expected JSON")
    found: list[Body] = [each for each in elections if isinstance(each, dict)]
    if options.election is not None:
        names = ", ".join(text(each.get("election")) for each in found)
        found = [each for each in found if each.get("election") == options.election]
        if not found:
            raise Fatal(f"the daemon does not stand in {options.election}; it stands in: {names}", EXIT_USAGE)
    if options.output == "json":
        return json.dumps({**body, "elections": found}, indent=None if options.watch else 2)
    return table(body, found)


def table(body: Body, elections: list[Body]) -> str:
    """The head line, one line per election, and who paused those that are paused."""
    rows = [HEADINGS, *(_row(each) for each in elections)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    paused = [f"{text(each.get('election'))}: {line}" for each in elections for line in pause_lines(each)]
    head = f"instance {text(body.get('instance'))} (*), {_store(body.get('store'))}"
    return "\n".join([head, "", *lines, *(["", *paused] if paused else [])])


def _row(each: Body) -> tuple[str, ...]:
    listed = each.get("candidates")
    candidates: list[Body] = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    leading = next((c for c in candidates if c.get("leader")), {})
    leader = text(each.get("leader_instance")) + ("*" if each.get("leader") else "")
    token = each.get("token") if each.get("token") is not None else leading.get("token")
    state, reason = text(each.get("state")), text(each.get("reason"))
    # The reason is worth its place where the state does not say it already.
    if reason not in {"-", "lease_held", "other_leader", "in_queue", state}:
        state += f" ({reason})"
    queue = [text(c.get("instance")) + ("*" if c.get("own") else "") for c in candidates]
    more = f", and {len(queue) - QUEUE_SHOWN} more" if len(queue) > QUEUE_SHOWN else ""
    lease = _seconds(each.get("lease_remaining_ms")) if each.get("leader") else "-"
    return (text(each.get("election")), leader, text(token), state, lease, ", ".join(queue[:QUEUE_SHOWN]) + more or "-")


def _store(store: object) -> str:
    if not isinstance(store, dict):
        return "store unknown"
    connected = "connected" if store.get("connected") else "NOT CONNECTED"
    seen = store.get("last_seen_ms")
    last = f"last answer {_seconds(seen)} ago" if seen is not None else "never answered"
    return f"store {text(store.get('kind'))}: {connected}, {last}"


def _seconds(milliseconds: object) -> str:
    return f"{milliseconds / 1000:.1f}s" if isinstance(milliseconds, int | float) else "-"


def _parser() -> argparse.ArgumentParser:
    parser = client_parser("status", "Who leads, with which token, for how long; the queue and the store.", EPILOG)
    parser.add_argument("election", nargs="?", type=election, metavar="ELECTION", help="only this one (default: all)")
    parser.add_argument("--watch", action="store_true", help="again every second, until interrupted")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")
    return parser
