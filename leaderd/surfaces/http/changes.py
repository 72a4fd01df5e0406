"""What changes something: which keys a body may have, and how `Actions` is asked and answered. Who may ask is the pool's business.

Rule 1: a body is read strictly, like a query: unknown, repeated and malformed keys are refused, all at once, and nothing is done.
Rule 2: a change goes on when whoever asked for it has gone; the answer then has no reader, that is all.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from leaderd.actions import ActionRefused, Actions, Refusal
from leaderd.config.durations import DurationError, parse_duration
from leaderd.surfaces.http import wire
from leaderd.surfaces.http.reply import Response, encode_json
from leaderd.surfaces.view import clean, pause_body, whole_ms

USUAL_TRANSFER_S = 10.0
_MAX_TOKEN = 2**64 - 1
_MAX_TEXT_CHARS = 1000
_STATUS = {
    Refusal.UNKNOWN_ELECTION: 404,
    Refusal.NO_SUCH_CANDIDATE: 404,
    Refusal.INVALID: 400,
    Refusal.NOT_LEADER: 409,
    Refusal.CONFLICT: 409,
    Refusal.TOKEN_MISMATCH: 412,
    Refusal.NOT_SUPPORTED: 501,
    Refusal.STORE_UNAVAILABLE: 503,
}
Read = Callable[[object], Any]
"""A value of a body as what the action wants; raises `ValueError` with the rule."""
Do = Callable[[str, dict[str, Any], str], Awaitable[Response]]
"""Election, the values of the body, and who asks."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one method does at one path. `keys`: what its body may have; `required`: what it must have."""

    do: Do
    keys: dict[str, Read]
    required: tuple[str, ...] = ()


class Changes:
    """The changes of one daemon, by the last part of their path and by method."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        token = {"if_token": _token}
        self.table: dict[str, dict[str, Change]] = {
            "resign": {"POST": Change(self._resign, {"cooldown": _duration, **token})},
            "transfer": {"POST": Change(self._transfer, {"to": _text, "timeout": _duration, **token}, ("to",))},
            "pause": {
                "PUT": Change(self._pause, {"reason": _text, "expires_in": _duration}),
                "DELETE": Change(self._resume, {}),
            },
            "candidacy": {"PUT": Change(self._stand, {}), "DELETE": Change(self._cordon, {})},
        }

    async def _resign(self, name: str, given: dict[str, Any], by: str) -> Response:
        done = await self._actions.resign(name, cooldown_s=given.get("cooldown", 0.0), if_token=given.get("if_token"))
        found = {"election": name, "token": done.token, "released": done.released, "took_ms": whole_ms(done.took_s)}
        return Response(200, encode_json(found))

    async def _transfer(self, name: str, given: dict[str, Any], by: str) -> Response:
        timeout_s = given.get("timeout", USUAL_TRANSFER_S)
        done = await self._actions.transfer(name, given["to"], timeout_s=timeout_s, if_token=given.get("if_token"))
        found = {
            "election": name,
            "token": done.token,
            "to": clean(done.to),
            "confirmed": done.confirmed,
            "new_token": done.new_token,
            "leaderless_ms": None if done.leaderless_s is None else whole_ms(done.leaderless_s),
        }
        return Response(200 if done.confirmed else 202, encode_json(found))

    async def _pause(self, name: str, given: dict[str, Any], by: str) -> Response:
        pause = await self._actions.pause(name, reason=given.get("reason", ""), by=by, expires_in_s=given.get("expires_in"))
        return Response(200, encode_json({"election": name, "pause": pause_body(pause)}))

    async def _resume(self, name: str, given: dict[str, Any], by: str) -> Response:
        was = await self._actions.resume(name)
        return Response(200, encode_json({"election": name, "pause": None, "was": pause_body(was)}))

    async def _stand(self, name: str, given: dict[str, Any], by: str) -> Response:
        return await self._candidacy(name, True)

    async def _cordon(self, name: str, given: dict[str, Any], by: str) -> Response:
        return await self._candidacy(name, False)

    async def _candidacy(self, name: str, standing: bool) -> Response:
        changed = await self._actions.set_candidacy(name, standing)
        return Response(200, encode_json({"election": name, "standing": standing, "changed": changed}))


def refused(error: ActionRefused) -> wire.Refusal:
    """A refusal of an action as HTTP says it; `kind` is for programs."""
    return wire.Refusal(_STATUS[error.kind], str(error), kind=error.kind.value)


def given(change: Change, body: bytes) -> dict[str, Any]:
    """The values of a body. Raises `wire.Refusal`, which names every key that is wrong, and its rule."""
    wrong: list[str] = []
    pairs = _pairs(body)
    found: dict[str, Any] = {}
    for key, value in pairs:
        shown = key[:40] if key.isprintable() else ascii(key[:40])
        read = change.keys.get(key)
        if read is None:
            known = f"known here: {', '.join(change.keys)}" if change.keys else "there are none here"
            wrong.append(f"{shown}: unknown key; {known}")
        elif key in found:
            wrong.append(f"{shown}: given more than once")
        else:
            try:
                found[key] = read(value)
            except ValueError as error:
                found[key] = None
                wrong.append(f"{shown}: {error}")
    wrong += [f"{key}: is missing" for key in change.required if key not in found]
    if wrong:
        raise wire.Refusal(400, "; ".join(wrong[:20]))
    return found


class _Pairs(list[tuple[str, object]]):
    """An object of a body, with what it repeats."""


def _pairs(body: bytes) -> _Pairs:
    if not body.strip():
        return _Pairs()
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_Pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise wire.Refusal(400, "the body is no JSON") from None
    if not isinstance(found, _Pairs):
        raise wire.Refusal(400, "the body is no JSON object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError('is no duration; write it as text with its unit, as "30s"')
    try:
        return parse_duration(value)
    except DurationError as error:
        raise ValueError(str(error)) from None


def _token(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_TOKEN:
        raise ValueError("is no fencing token; a token is a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS or not value.isprintable():
        raise ValueError(f"is no text on one line of at most {_MAX_TEXT_CHARS} characters")
    return value
