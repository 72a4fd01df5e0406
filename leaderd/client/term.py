"""A term: a yes with its fencing token and its end; and durations as they are written."""

from __future__ import annotations

import re
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import NamedTuple

from leaderd.client.errors import NotLeader

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Term(NamedTuple):
    """A yes: the fencing token to send along, and until when it holds (ns on CLOCK_BOOTTIME).

    From `require`, the instant is promised by the daemon; from `look`, it is that of the lease, which a release may cut short.
    """

    token: int
    valid_until_ns: int

    @property
    def valid_for_s(self) -> float:
        """Seconds left; 0 when it is over."""
        return max(0.0, (self.valid_until_ns - clock_gettime_ns(CLOCK_BOOTTIME)) / 1e9)

    def check(self) -> None:
        """Raise `NotLeader` once the instant has passed."""
        if clock_gettime_ns(CLOCK_BOOTTIME) >= self.valid_until_ns:
            raise NotLeader(f"term {self.token} is over, or was promised no longer", "lease_expired")


def seconds(value: str | float) -> float:
    """A duration in seconds; `30s` is 30. Raises `ValueError`."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            if value == "0":
                return 0.0
            raise ValueError(f"{value!r} is no duration: 500ms, 10s, 2m")
        return float(match[1]) * _UNITS_S[match[2]]
    if not 0 <= value < 1e9:
        raise ValueError(f"{value!r} is no duration in seconds")
    return float(value)


def as_query(value: str | float) -> str:
    """As the daemon reads it: `30s` stays, seconds become whole milliseconds, rounded up."""
    if isinstance(value, str):
        seconds(value)
        return value
    return f"{-int(-seconds(value) * 1000 // 1)}ms" if value else "0"
