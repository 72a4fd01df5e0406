"""`leaderd resign`: give leadership up."""

from __future__ import annotations

from collections.abc import Sequence

from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.cli.options import duration, token
from leaderd.errors import EXIT_OK

MORE = """
The answer turns "not leader" at once; the store is told when the promises that were given have lapsed.

example:
  leaderd resign reports --cooldown 1m   # and do not stand again for a minute
"""


def main(argv: Sequence[str]) -> int:
    """Ask for it, and say how it went."""
    parser = operator_parser("resign", "Have this instance give leadership up.", MORE)
    parser.add_argument("--cooldown", type=duration, metavar="30s", help="for how long not to stand again (default: stand at once)")
    parser.add_argument("--if-token", type=token, metavar="N", help="only in the term with this token")
    options = parser.parse_args(argv)
    found = ask_change(options, "POST", "resign", {"cooldown": options.cooldown, "if_token": options.if_token})
    how = f"free after {found.get('took_ms')} ms" if found.get("released") else "the store has not confirmed the release yet"
    show(options, found, f"{options.election}: resigned from token {found.get('token')}; {how}")
    return EXIT_OK
