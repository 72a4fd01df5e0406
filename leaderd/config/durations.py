"""Durations as people write them: `500ms`, `10s`, `2m`, `1h`. A bare number is refused: is `10` seconds or milliseconds?"""

from __future__ import annotations

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?(ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$"
"""The grammar, for the JSON schema."""
MAX_S = 9_000_000_000.0


class DurationError(ValueError):
    """Text that is no duration. `rule` says why, `remedy` what to write."""

    def __init__(self, rule: str, remedy: str = "write a number and a unit, such as 500ms, 10s, 2m or 1h") -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule = rule
        self.remedy = remedy


def parse_duration(text: str) -> float:
    """Seconds, never negative, exact to the millisecond wherever a float can be. Raises `DurationError`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise _explained(text)
    whole, fraction, unit = match.groups()
    # Thousandths of a millisecond, so that 1.5ms is not rounded away.
    thousandths = (int(whole) * 1000 + int((fraction or "0").ljust(3, "0"))) * _UNITS_MS[unit]
    seconds = thousandths / 1_000_000
    if seconds > MAX_S:
        raise DurationError("is longer than any store keeps a session", "write a shorter one")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest exact way to write it: 0.5 is `500ms`, 4.6 is `4.6s`, 120.0 is `2m`. Rounded to the microsecond."""
    micros = round(seconds * 1_000_000)
    for unit in ("h", "m", "s"):
        size = _UNITS_MS[unit] * 1000
        if micros and micros % size == 0:
            return f"{micros // size}{unit}"
    if micros == 0:
        return "0s"
    size, unit = (1_000_000, "s") if micros > 1_000_000 and micros % 1000 == 0 else (1000, "ms")
    whole, rest = divmod(micros, size)
    fraction = f"{rest:0{len(str(size)) - 1}}".rstrip("0")
    return f"{whole}.{fraction}{unit}" if fraction else f"{whole}{unit}"


def _explained(text: str) -> DurationError:
    bare = text.strip()
    if not bare:
        return DurationError("is empty")
    if _NUMBER.fullmatch(bare):
        return DurationError("has no unit", f"write {bare}s or {bare}ms")
    if bare.startswith(("-", "+")):
        return DurationError("has a sign", "a duration is never negative: write 500ms, 10s, 2m or 1h")
    if bare.lower() in {"nan", "inf", "infinity", ".nan", ".inf"}:
        return DurationError("is not a finite number")
    tight = re.sub(r"\s", "", text).lower()
    if tight != text and _DURATION.fullmatch(tight):
        return DurationError("has spaces or capitals in it", f"write {tight}")
    if re.fullmatch(r"([0-9.]+(ms|s|m|h)){2,}", tight):
        return DurationError("mixes units", "write one number and one unit: 90s, not 1m30s")
    if match := re.fullmatch(
        r"([0-9.]+) ?(sec|secs|second|seconds|min|mins|minute|minutes|hour|hours|msec|d|day|days|us|ns)", text.strip().lower()
    ):
        return DurationError(f"has the unknown unit {match[2]!r}", "the units are ms, s, m and h")
    if re.fullmatch(r"[0-9.]+(ms|s|m|h)", tight):
        return DurationError("has too many digits or points", "at most nine digits, and three after the point")
    return DurationError("is no duration")
