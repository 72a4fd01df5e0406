"""`leaderd pause`: have nobody lead an election."""

from __future__ import annotations

from collections.abc import Sequence

from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.cli.options import duration
from leaderd.errors import EXIT_OK

MORE = """
For the whole election, kept in the store: whichever daemon is asked, no instance leads until `leaderd resume`, or for --expires-in.

example:
  leaderd pause reports --reason "database upgrade" --expires-in 1h
"""


def main(argv: Sequence[str]) -> int:
    """Ask for it, and say until when."""
    parser = operator_parser("pause", "Have nobody lead an election.", MORE)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; shown wherever the pause is shown")
    parser.add_argument("--expires-in", type=duration, metavar="1h", help="after which it goes on by itself (default: never)")
    options = parser.parse_args(argv)
    found = ask_change(options, "PUT", "pause", {"reason": options.reason, "expires_in": options.expires_in})
    pause = found.get("pause")
    until = pause.get("expires_at") if isinstance(pause, dict) else None
    show(options, found, f"{options.election}: paused {f'until {until}' if until else 'until it is resumed'}")
    return EXIT_OK
