"""What the tables and screens on a terminal have in common."""

from __future__ import annotations

from collections.abc import Mapping


def text(value: object) -> str:
    """A value as text: names come from peers, so nothing in them may move the cursor."""
    if value is None or value == "":
        return "-"
    found = str(value)
    return found if found.isprintable() else ascii(found)[1:-1]


def pause_lines(election: Mapping[str, object]) -> list[str]:
    """Who paused an election, until when and why, as one line; none when it is not paused."""
    pause = election.get("pause")
    if not isinstance(pause, Mapping):
        return []
    by = f" by {text(pause['by'])}" if pause.get("by") else ""
    until = f" until {text(pause['expires_at'])}" if pause.get("expires_at") else ""
    why = f": {text(pause['reason'])}" if pause.get("reason") else ""
    return [f"PAUSED{by}{until}{why}. Nobody leads."]
