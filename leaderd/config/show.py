"""The configuration as text for people and scripts: every key, its value, and who said so. Secrets never get this far."""

from __future__ import annotations

import json

from leaderd.config.model import Config
from leaderd.config.problems import ConfigProblem, plain


def as_table(config: Config) -> str:
    """Three columns: key, value, origin; control characters escaped."""
    rows = [("KEY", "VALUE", "FROM"), *((key, plain(text), plain(origin)) for key, (text, origin) in config.shown.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{key:<{widths[0]}}  {text:<{widths[1]}}  {origin}".rstrip() for key, text, origin in rows)


def as_json(config: Config) -> str:
    """An object per key: `{"timing.ttl": {"value": "10s", "from": "default"}, ...}`."""
    return json.dumps({key: {"value": text, "from": origin} for key, (text, origin) in config.shown.items()}, indent=2)


def as_report(problems: list[ConfigProblem]) -> str:
    """All problems, one line each, and how many there are."""
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    return "\n".join([*map(str, problems), f"leaderd: configuration refused: {count}"])
