"""What goes into a cell of a table on a terminal."""

from __future__ import annotations


def text(value: object) -> str:
    """A value as text: names come from peers, so nothing in them may move the cursor."""
    if value is None or value == "":
        return "-"
    found = str(value)
    return found if found.isprintable() else ascii(found)[1:-1]
