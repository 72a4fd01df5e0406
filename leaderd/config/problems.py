"""A configuration problem: where it is, which key and value, which rule it breaks, what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass

SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One reason not to start.

    `origin`: `FILE:LINE`, the environment variable, the flag, or `default`. `value`: as the user wrote it, already redacted;
    `None` when there is none to show. `rule`: what is wrong; `remedy`: what to write instead, or what would happen otherwise.
    """

    key: str
    value: str | None
    rule: str
    remedy: str
    origin: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {quoted(self.value)}"
        return f"{self.origin}: {self.key}{shown}: {self.rule}; {self.remedy}"


def quoted(text: str) -> str:
    """The text in quotes on one line, control characters escaped, cut when it is very long."""
    if len(text) > SHOWN_CHARS:
        text = text[:SHOWN_CHARS] + "..."
    shown = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in shown)


def redacted_url(url: str) -> str:
    """The URL without anything that may be a secret: user, password, query, fragment."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        scheme, rest = "", url
    local = scheme == "local" and rest.startswith("/")
    if "@" in rest and not local:
        rest = "***@" + rest.rpartition("@")[2]
    for mark in "?#":
        head, found, _ = rest.partition(mark)
        rest = head + (found + "***" if found else "")
    return scheme + sep + rest
