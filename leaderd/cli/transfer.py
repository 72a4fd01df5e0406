"""`leaderd transfer`: hand leadership to a named candidate."""

from __future__ import annotations

from collections.abc import Sequence

from leaderd.cli.asking import ACTION_TIMEOUT_S, ask_change, operator_parser, show
from leaderd.cli.cells import text
from leaderd.cli.options import duration, seconds, token
from leaderd.errors import EXIT_NOT_LEADER, EXIT_OK

MORE = """
Ask the daemon that leads. If the candidate is not next in line within --timeout, nothing changes. Exit code 1, too, when leadership
was given up and the candidate has not said yet that it leads.

example:
  leaderd transfer reports --to pod-b
"""
USUAL_TIMEOUT = "10s"


def main(argv: Sequence[str]) -> int:
    """Ask for it, and say who leads."""
    parser = operator_parser("transfer", "Hand leadership from this instance to another.", MORE)
    parser.add_argument("--to", required=True, metavar="INSTANCE", help="who shall lead: a name from the queue in `leaderd status`")
    parser.add_argument("--timeout", type=duration, default=USUAL_TIMEOUT, metavar="10s", help="how long to try (default: 10s)")
    parser.add_argument("--if-token", type=token, metavar="N", help="only in the term with this token")
    options = parser.parse_args(argv)
    body = {"to": options.to, "timeout": options.timeout, "if_token": options.if_token}
    # Beyond its own time a transfer waits for promises, and for the candidate's word.
    found = ask_change(options, "POST", "transfer", body, 2 * seconds(options.timeout) + 2 * ACTION_TIMEOUT_S)
    to = text(found.get("to"))
    if found.get("confirmed"):
        gap = f"; nobody led for {found.get('leaderless_ms')} ms at most"
        show(options, found, f"{options.election}: {to} leads with token {found.get('new_token')}{gap}")
        return EXIT_OK
    show(options, found, f"{options.election}: given up for {to}, which has not said yet that it leads")
    return EXIT_NOT_LEADER
