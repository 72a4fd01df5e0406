"""How etcd and ZooKeeper keep the high-water mark of tokens: the same text in both.

Of fixed width, so that etcd's comparison of bytes is one of numbers. Consul's holds more, and is its own (`consul/wire.py`).
"""

from __future__ import annotations

import re

_READY = b" ready"
_MARK = re.compile(rb"([0-9]{20})(?: ready)?")


def mark_text(mark: int) -> bytes:
    """A high-water mark as stored: every token up to it may have led."""
    return b"%020d" % mark


def ready_text(token: int) -> bytes:
    """A mark that whoever is ready has raised to its own token: it does not say that the token was ever claimed.

    As bytes it is above the plain mark of the same number, and below that of the next.
    """
    return mark_text(token) + _READY


def parse_mark(text: bytes) -> int | None:
    """The number of a stored high-water mark, of either kind; None if it is not one. Other widths would not compare as numbers."""
    found = _MARK.fullmatch(text)
    return int(found[1]) if found else None
