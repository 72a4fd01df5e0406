"""`leaderd resume`: end a pause."""

from __future__ import annotations

from collections.abc import Sequence

from leaderd.cli.asking import ask_change, operator_parser, show
from leaderd.cli.cells import text
from leaderd.errors import EXIT_OK


def main(argv: Sequence[str]) -> int:
    """Ask for it, and say what ended."""
    options = operator_parser("resume", "End the pause of an election, whoever began it.").parse_args(argv)
    found = ask_change(options, "DELETE", "pause", {})
    was = found.get("was")
    said = (
        f"resumed; it was paused by {text(was.get('by'))}: {text(was.get('reason'))}" if isinstance(was, dict) else "was not paused"
    )
    show(options, found, f"{options.election}: {said}")
    return EXIT_OK
