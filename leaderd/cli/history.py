"""`leaderd history`: the last terms of an election."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderd.cli.asking import ask_past, operator_parser, show
from leaderd.cli.cells import text
from leaderd.errors import EXIT_OK

HEADINGS = ("TOKEN", "LEADER", "FROM", "TO", "ENDED BY")


def main(argv: Sequence[str]) -> int:
    """Print the terms, newest first."""
    options = operator_parser("history", "The last 100 terms of an election, newest first.").parse_args(argv)
    found = ask_past(options, "history")
    terms = found.get("terms")
    show(options, found, table([term for term in terms if isinstance(term, dict)] if isinstance(terms, list) else []))
    return EXIT_OK


def table(terms: list[dict[str, Any]]) -> str:
    """A head line, and a line per term."""
    rows = [
        HEADINGS,
        *(tuple(text(term.get(key)) for key in ("token", "leader", "started_at", "ended_at", "reason")) for term in terms),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
