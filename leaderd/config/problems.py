"""A configuration problem: where it is, which key and value, which rule it breaks, what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass

SHOWN_CHARS = 200


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
        # Rules and remedies may quote the value, and a key may be anything: all of it is for one line of a terminal.
        return plain(f"{self.origin}: {_cut(self.key)}{shown}: {_cut(self.rule)}; {_cut(self.remedy)}")


def quoted(text: str) -> str:
    """The text in quotes on one line, control characters escaped, cut when it is very long."""
    return plain(json.dumps(_cut(text), ensure_ascii=False))


def plain(text: str) -> str:
    """The text with everything escaped that is no printable character: safe on any terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


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
