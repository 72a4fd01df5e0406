"""`leaderd cordon`: take this instance out of an election."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.errors import EXIT_OK

MORE = """
If it leads it gives leadership up first. It stands again after `leaderd uncordon`, or when the daemon is restarted.
"""


def main(argv: Sequence[str]) -> int:
    """Ask for it."""
    return take_out(operator_parser("cordon", "Take this instance out of an election.", MORE).parse_args(argv))


def take_out(options: argparse.Namespace) -> int:
    """Have it stand no more, and say so; `options` are an operator's. Raises `Fatal`."""
    found = ask_change(options, "DELETE", "candidacy", {})
    show(
        options,
        found,
        f"{options.election}: this instance {'does not stand any more' if found.get('changed') else 'did not stand'}",
    )
    return EXIT_OK
