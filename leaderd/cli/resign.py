"""`leaderd resign`: give leadership up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from leaderd.cli import cordon
from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.cli.options import duration, token
from leaderd.errors import EXIT_NOT_LEADER, EXIT_OK, Fatal

MORE = """
The answer turns "not leader" at once; the store is told when the promises that were given have lapsed.

example:
  leaderd resign reports --cooldown 1m   # and do not stand again for a minute
  leaderd resign reports --cooldown 1m --or-cordon   # before this instance is stopped, whether it leads or not
"""


def main(argv: Sequence[str]) -> int:
    """Ask for it, and say how it went."""
    parser = operator_parser("resign", "Have this instance give leadership up.", MORE)
    parser.add_argument("--cooldown", type=duration, metavar="30s", help="for how long not to stand again (default: stand at once)")
    parser.add_argument("--if-token", type=token, metavar="N", help="only in the term with this token")
    parser.add_argument(
        "--or-cordon", action="store_true", help="if it does not lead, have it stand no more instead: as leaderd cordon, exit 0"
    )
    options = parser.parse_args(argv)
    try:
        return _resign(options)
    except Fatal as refused:
        if not options.or_cordon or options.if_token is not None or refused.code != EXIT_NOT_LEADER:
            raise
    # On its way out: it must not become leader either, between now and its end.
    return cordon.take_out(options)


def _resign(options: argparse.Namespace) -> int:
    found = ask_change(options, "POST", "resign", {"cooldown": options.cooldown, "if_token": options.if_token})
    how = f"free after {found.get('took_ms')} ms" if found.get("released") else "the store has not confirmed the release yet"
    show(options, found, f"{options.election}: resigned from token {found.get('token')}; {how}")
    return EXIT_OK
