"""The part of the OpenAPI document about what operators do: changes, and looking back."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]
_BELOW = "/v1/elections/{NAME}"
_DURATION: Node = {"type": "string", "examples": ["30s"]}
_TOKEN: Node = {"type": "integer", "minimum": 0, "description": "Only in the term with this token; else 412."}
_TEXT: Node = {"type": "string", "maxLength": 1000}
_TEXT_OR_NULL: Node = {"type": ["string", "null"]}
_INT_OR_NULL: Node = {"type": ["integer", "null"]}
_MEANT: Node = {
    "name": "X-Leaderd-Request",
    "in": "header",
    "required": True,
    "schema": {"const": "1"},
    "description": "Says that the change is meant, and by no web page.",
}


def change_paths(election: Node) -> Node:
    """What changes something; `election` is the parameter in the path. Only on the Unix socket and on loopback."""
    pause = _object(by=_TEXT, reason=_TEXT, expires_at=_TEXT_OR_NULL)
    name, flag = {"type": "string"}, {"type": "boolean"}
    done = _object(election=name, token={"type": "integer"}, released=flag, took_ms={"type": "integer"})
    handed = _object(
        election=name, token={"type": "integer"}, to=name, confirmed=flag, new_token=_INT_OR_NULL, leaderless_ms=_INT_OR_NULL
    )
    standing = _object(election=name, standing=flag, changed=flag)
    resumed = _object(election=name, pause={"type": "null"}, was={"anyOf": [pause, {"type": "null"}]})
    resign = _change("Give leadership up.", election, done, {"cooldown": _DURATION, "if_token": _TOKEN})
    transfer = _change(
        "Hand leadership to a named candidate.", election, handed, {"to": _TEXT, "timeout": _DURATION, "if_token": _TOKEN}, ("to",)
    )
    transfer["responses"]["202"] = _json("Given up for it; it has not said yet that it leads.", handed)
    return {
        f"{_BELOW}/resign": {"post": resign},
        f"{_BELOW}/transfer": {"post": transfer},
        f"{_BELOW}/pause": {
            "put": _change(
                "Have nobody lead; kept in the store.",
                election,
                _object(election=name, pause=pause),
                {"reason": _TEXT, "expires_in": _DURATION},
            ),
            "delete": _change("End the pause.", election, resumed, {}),
        },
        f"{_BELOW}/candidacy": {
            "put": _change("Let this instance stand again.", election, standing, {}),
            "delete": _change("Take this instance out of the election.", election, standing, {}),
        },
    }


def past_paths(election: Node) -> Node:
    """Looking back; on all listeners."""
    time: Node = {"type": "string", "format": "date-time"}
    time_or_null: Node = {"type": ["string", "null"], "format": "date-time"}
    term = _object(token={"type": "integer"}, leader=_TEXT, started_at=time, ended_at=time_or_null, reason=_TEXT_OR_NULL)
    entry = _object(
        at=time, kind=_TEXT, text={"type": "string"}, token=_INT_OR_NULL, times={"type": "integer"}, last_at=time_or_null
    )
    name: Node = {"type": "string"}
    history = _json("The terms, newest first.", _object(election=name, terms={"type": "array", "items": term}))
    why = _json("A sentence and what led to it.", _object(election=name, summary=name, entries={"type": "array", "items": entry}))
    why["content"]["text/plain"] = {"schema": {"type": "string"}}
    wrong = {status: _problem(status) for status in ("400", "404")}
    return {
        f"{_BELOW}/history": {
            "get": {"summary": "The last 100 terms.", "parameters": [election], "responses": {"200": history, **wrong}}
        },
        f"{_BELOW}/why": {
            "get": {
                "summary": "Why it is, or is not, led from here.",
                "parameters": [election],
                "responses": {"200": why, **wrong},
            }
        },
    }


def _change(summary: str, election: Node, answer: Node, keys: Node, required: tuple[str, ...] = ()) -> Node:
    codes = ["400", "403", "404", "408", "409", "411", "413", "501", "503", *(["412"] if "if_token" in keys else [])]
    schema: Node = {"type": "object", "properties": keys, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    found: Node = {
        "summary": summary,
        "parameters": [election, _MEANT],
        "responses": {"200": _json("Done.", answer), **{code: _problem(code) for code in sorted(codes)}},
    }
    if keys:
        found["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": schema}}}
    return found


def _json(description: str, schema: Node) -> Node:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(status: str) -> Node:
    return {
        "description": f"Refused ({status}).",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _object(**properties: Node) -> Node:
    return {"type": "object", "required": list(properties), "properties": properties}
