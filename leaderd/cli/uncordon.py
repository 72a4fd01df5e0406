"""`leaderd uncordon`: let this instance stand again."""

from __future__ import annotations

from collections.abc import Sequence

from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.errors import EXIT_OK


def main(argv: Sequence[str]) -> int:
    """Ask for it."""
    options = operator_parser("uncordon", "Let this instance stand in an election again.").parse_args(argv)
    found = ask_change(options, "PUT", "candidacy", {})
    show(options, found, f"{options.election}: this instance {'stands again' if found.get('changed') else 'stood already'}")
    return EXIT_OK
