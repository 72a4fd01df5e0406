"""`leaderd why`: why this instance leads, or does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderd.cli.asking import ask_past, operator_parser, show
from leaderd.cli.cells import text
from leaderd.errors import EXIT_OK


def main(argv: Sequence[str]) -> int:
    """Print the sentence, and what led to it."""
    options = operator_parser("why", "Why this instance leads an election, or does not, and what led to it.").parse_args(argv)
    found = ask_past(options, "why")
    entries = found.get("entries")
    lines = [_line(entry) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    show(options, found, "\n".join([text(found.get("summary")), *lines]))
    return EXIT_OK


def _line(entry: dict[str, Any]) -> str:
    times = entry.get("times")
    again = f" (x{times}, last at {text(entry.get('last_at'))})" if isinstance(times, int) and times > 1 else ""
    return f"  {text(entry.get('at'))}  {text(entry.get('text'))}{again}"
