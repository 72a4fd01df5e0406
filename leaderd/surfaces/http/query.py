"""Query parameters: everything that is not understood is refused, naming the parameter, its value and the rule.

A misspelt `min_valid` that is silently ignored would be a yes that the caller did not ask for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from leaderd.config.durations import DurationError, parse_duration
from leaderd.surfaces.http.hold import MIN_PROMISE_S, HoldAsked
from leaderd.surfaces.http.wire import Refusal, decode_percent

_MAX_SHOWN_CHARS = 80
_MAX_TOKEN = 2**64 - 1
MAX_WAIT_S = 60.0
_USUAL_WAIT_S = 30.0
_ASKED = ("election", "promise", "min_valid", "token", "index", "wait", "leader_code", "follower_code")


@dataclass(frozen=True, slots=True)
class Asked:
    """What `/is-leader` was asked. `promise_s` None: the configured one."""

    election: str | None = None
    promise_s: float | None = None
    min_valid_s: float = 0.0
    token: int | None = None
    leader_code: int = 200
    follower_code: int = 503
    index: int | None = None
    wait_s: float = 0.0
    """With an index: for how long to wait for another one."""


def bad_parameter(name: str, value: str, rule: str) -> Refusal:
    """The refusal of one parameter."""
    shown = value if len(value) <= _MAX_SHOWN_CHARS else value[:_MAX_SHOWN_CHARS] + "..."
    shown_name = name if len(name) <= _MAX_SHOWN_CHARS else name[:_MAX_SHOWN_CHARS] + "..."
    return Refusal(400, f"{shown_name}={shown}: {rule}", parameter=shown_name, value=shown, rule=rule)


def split_query(query: str, known: tuple[str, ...], repeatable: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """`a=1&b=2` as pairs; raises `Refusal` for unknown, repeated and malformed ones."""
    pairs: list[tuple[str, str]] = []
    if not query:
        return pairs
    seen: set[str] = set()
    for part in query.split("&"):
        raw_name, _, raw_value = part.partition("=")
        name = decode_percent(raw_name, "the query") if "%" in raw_name else raw_name
        if name not in known:
            rule = f"unknown parameter; known here: {', '.join(known)}" if known else "unknown parameter; there are none here"
            raise bad_parameter(name, raw_value, rule)
        if name in seen and name not in repeatable:
            raise bad_parameter(name, raw_value, "given more than once")
        seen.add(name)
        pairs.append((name, decode_percent(raw_value, f"the value of {name}") if "%" in raw_value else raw_value))
    return pairs


def asked(query: str, in_path: str | None) -> Asked:
    """The parameters of `/is-leader`; `in_path` is the election named in the path. Raises `Refusal`."""
    election, promise_s, min_valid_s, token = in_path, None, 0.0, None
    codes = {"leader_code": 200, "follower_code": 503}
    index: int | None = None
    wait: str | None = None
    for name, value in split_query(query, _ASKED):
        if name == "election":
            if in_path is not None:
                raise bad_parameter(name, value, "the election is in the path already")
            election = value
        elif name == "promise":
            promise_s = _duration(name, value)
        elif name == "min_valid":
            min_valid_s = _duration(name, value)
        elif name == "token":
            token = _token(value)
        elif name == "index":
            index = _index(value)
        elif name == "wait":
            wait = value
        else:
            codes[name] = _status(name, value)
    wait_s = _wait_s(index, wait)
    return Asked(election, promise_s, min_valid_s, token, codes["leader_code"], codes["follower_code"], index, wait_s)


@dataclass(frozen=True, slots=True)
class EventsAsked:
    """What `/v1/events` was asked: of which election (None: all), with which promise (None: the usual one), since which event."""

    election: str | None = None
    promise_s: float | None = None
    since: str | None = None


def events_asked(query: str, last_event_id: str | None) -> EventsAsked:
    """The parameters of `/v1/events`. A `since` in the query gives way to the header that a browser sends when it comes back."""
    election, promise_s, since = None, None, None
    for name, value in split_query(query, ("election", "since", "promise")):
        if name == "election":
            election = value
        elif name == "promise":
            promise_s = _duration(name, value)
        else:
            since = value
    return EventsAsked(election, promise_s, last_event_id or since)


def hold_asked(query: str) -> HoldAsked:
    """The parameters of a hold. Raises `Refusal`."""
    promise_s, min_valid_s, token, renew = None, 0.0, None, True
    for name, value in split_query(query, ("promise", "min_valid", "token", "renew")):
        if name == "promise":
            promise_s = _duration(name, value)
            if promise_s < MIN_PROMISE_S:
                raise bad_parameter(name, value, f"is too short to be kept open; at least {MIN_PROMISE_S * 1000:g}ms")
        elif name == "min_valid":
            min_valid_s = _duration(name, value)
        elif name == "token":
            token = _token(value)
        elif value not in {"0", "1"}:
            raise bad_parameter(name, value, "is neither 1 (extend the promise as long as the term lasts) nor 0")
        else:
            renew = value == "1"
    return HoldAsked(promise_s, min_valid_s, token, renew)


def _duration(name: str, value: str) -> float:
    if value == "0":
        return 0.0
    try:
        return parse_duration(value)
    except DurationError as error:
        raise bad_parameter(name, value, str(error)) from None


def _index(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,18}", value, re.ASCII) is None:
        raise bad_parameter("index", value, "is no index; an index is a whole number, as an answer shows it")
    return int(value)


def _wait_s(index: int | None, wait: str | None) -> float:
    """For how long to wait for another index than `index`."""
    if wait is None:
        return 0.0 if index is None else _USUAL_WAIT_S
    if index is None:
        raise bad_parameter("wait", wait, "needs index=, the index of the answer that you have")
    wait_s = _duration("wait", wait)
    if wait_s > MAX_WAIT_S:
        raise bad_parameter("wait", wait, f"is longer than {MAX_WAIT_S:g}s; ask again when that has passed")
    return wait_s


def _token(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,20}", value, re.ASCII) is None or int(value) > _MAX_TOKEN:
        raise bad_parameter("token", value, "is no fencing token; a token is a whole number, as `token_text` shows it")
    return int(value)


def _status(name: str, value: str) -> int:
    if re.fullmatch(r"[2-5][0-9]{2}", value, re.ASCII) is None:
        raise bad_parameter(name, value, "is no status code; write one from 200 to 599")
    return int(value)
