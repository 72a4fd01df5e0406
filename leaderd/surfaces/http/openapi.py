"""What there is, as OpenAPI 3.1; written by hand, and held to the routes by a test."""

from __future__ import annotations

from typing import Any

from leaderd import __version__
from leaderd.election.problems import Reason
from leaderd.election.state import State
from leaderd.surfaces.http.openapi_changes import change_paths, past_paths

Node = dict[str, Any]


def document() -> Node:
    """The whole document."""
    election = _path_parameter("NAME", "The election.")
    asked = _asked()
    named = [parameter for parameter in asked if parameter["name"] != "election"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "leaderd",
            "version": __version__,
            "description": "May this instance act as the leader? A 200 is a promise for valid_for_ms; anything else is a no.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:4040"}],
        "paths": {
            "/is-leader": _question(asked),
            "/is-leader/{NAME}": _question([election, *named]),
            "/": _get(
                "Who leads, as the Kubernetes leader-elector says it.",
                "#/components/schemas/Who",
                [_election_query()],
                {"400", "404"},
            ),
            "/v1/elections": _get("This daemon, its store, all its elections.", "#/components/schemas/Overview", [], {"400"}),
            "/v1/elections/{NAME}": _get("One election.", "#/components/schemas/Election", [election], {"400", "404"}),
            "/v1/elections/{NAME}/hold": _hold(asked),
            **past_paths(election),
            **change_paths(election),
            "/v1/events": _events(asked),
            "/v1/version": _get("Which leaderd this is.", "#/components/schemas/Version", [], {"400"}),
            "/livez": _probe("Fails only when the daemon is wedged and should be restarted."),
            "/healthz": _probe("The same as /livez."),
            "/readyz": _probe("Never depends on leadership, nor on the store."),
            "/startupz": _probe("Fails until the daemon has started."),
            "/metrics": {
                "get": {
                    "summary": "Prometheus metrics.",
                    "responses": {"200": _content("Metrics.", "text/plain", {"type": "string"})},
                }
            },
            "/openapi.json": {
                "get": {
                    "summary": "This document.",
                    "responses": {"200": _content("OpenAPI.", "application/json", {"type": "object"})},
                }
            },
        },
        "components": {"schemas": _schemas()},
    }


def _question(parameters: list[Node]) -> Node:
    headers = {
        "X-Leaderd-Index": {"schema": {"type": "integer"}, "description": "Rises with each change of state, token or leader."},
        "X-Leaderd-State": {"schema": {"type": "string"}},
    }
    yes_headers = {
        "X-Fencing-Token": {"schema": {"type": "integer"}, "description": "The term's fencing token."},
        "X-Leaderd-Valid-For-Ms": {
            "schema": {"type": "integer"},
            "description": "The promise, counted from before you sent the request.",
        },
    }
    schema = {"$ref": "#/components/schemas/Answer"}
    yes = {**_content("Leader, for valid_for_ms.", "application/json", schema), "headers": {**headers, **yes_headers}}
    no = {**_content("Not leader.", "application/json", schema), "headers": headers}
    responses = {"200": yes, "503": no, **_problems({"400", "404"})}
    bare = {"200": {"description": "Leader."}, "503": {"description": "Not leader."}, **_problems({"400", "404"})}
    head = {"summary": "The same without a body; a 200 promises the same.", "responses": bare}
    options = {"summary": "The status code only, for load balancers; a 200 promises the same.", "responses": bare}
    return {
        "parameters": parameters,
        "get": {"summary": "May I act as the leader?", "responses": responses},
        "head": head,
        "options": options,
    }


def _events(asked: list[Node]) -> Node:
    since = {
        "name": "since",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The id of the last event heard; the header Last-Event-ID says the same.",
    }
    parameters = [*(parameter for parameter in asked if parameter["name"] in {"election", "promise"}), since]
    stream = _content("`state` first, then events; each datum is an Answer.", "text/event-stream", {"type": "string"})
    full = _content("Too many subscribers.", "application/problem+json", {"$ref": "#/components/schemas/Problem"})
    responses = {"200": stream, "503": full, **_problems({"400", "404"})}
    return {"parameters": parameters, "get": {"summary": "Changes as they happen (Server-Sent Events).", "responses": responses}}


def _hold(asked: list[Node]) -> Node:
    renew = {
        "name": "renew",
        "in": "query",
        "schema": {"type": "integer", "enum": [0, 1], "default": 1},
        "description": "Whether the promise is extended as long as the term lasts.",
    }
    parameters = [parameter for parameter in asked if parameter["name"] in {"promise", "min_valid", "token"}]
    stream = _content("`held`, then `tick`s, `ending`, `ended`; each datum is an Answer.", "text/event-stream", {"type": "string"})
    no = _content("Not leader (or a Problem: too many holds).", "application/json", {"$ref": "#/components/schemas/Answer"})
    far = _content("Not from this host.", "application/problem+json", {"$ref": "#/components/schemas/Problem"})
    summary = "Keep a promise open until this side closes (Server-Sent Events); closing gives it back."
    return {
        "parameters": [_path_parameter("NAME", "The election."), *parameters, renew],
        "get": {"summary": summary, "responses": {"200": stream, "403": far, "503": no, **_problems({"400", "404"})}},
    }


def _get(summary: str, schema: str, parameters: list[Node], errors: set[str]) -> Node:
    responses = {"200": _content("OK.", "application/json", {"$ref": schema}), **_problems(errors)}
    return {"parameters": parameters, "get": {"summary": summary, "responses": responses}}


def _probe(summary: str) -> Node:
    parameters = [
        {
            "name": "verbose",
            "in": "query",
            "allowEmptyValue": True,
            "schema": {"type": "string"},
            "description": "List the checks.",
        },
        {
            "name": "exclude",
            "in": "query",
            "schema": {"type": "array", "items": {"type": "string"}},
            "description": "Skip these checks.",
        },
    ]
    text = {"type": "string"}
    responses = {
        "200": _content("Passed.", "text/plain", text),
        "503": _content("Failed.", "text/plain", text),
        **_problems({"400"}),
    }
    return {"parameters": parameters, "get": {"summary": summary, "responses": responses}}


def _content(description: str, media_type: str, schema: Node) -> Node:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(codes: set[str]) -> Node:
    said = {"400": "A parameter is not understood.", "404": "Unknown election."}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {code: _content(said[code], "application/problem+json", schema) for code in sorted(codes)}


def _path_parameter(name: str, description: str) -> Node:
    schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,63}$"}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _election_query() -> Node:
    description = "The election; may be left out where there is only one."
    return {"name": "election", "in": "query", "description": description, "schema": {"type": "string"}}


def _asked() -> list[Node]:
    duration = {"type": "string", "pattern": r"^(0|[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h))$", "examples": ["500ms", "10s", "2m"]}
    code = {"type": "integer", "minimum": 200, "maximum": 599}
    return [
        _election_query(),
        {
            "name": "promise",
            "in": "query",
            "schema": duration,
            "description": "How long the yes shall hold; 0 for a mere look. Capped by the lease.",
        },
        {
            "name": "index",
            "in": "query",
            "schema": {"type": "integer", "minimum": 0},
            "description": "Answer only when the index is another one, or `wait` is over.",
        },
        {"name": "wait", "in": "query", "schema": duration, "description": "With `index`: for how long; at most 60s, usually 30s."},
        {
            "name": "min_valid",
            "in": "query",
            "schema": duration,
            "description": "Yes only if the lease has at least that much left.",
        },
        {
            "name": "token",
            "in": "query",
            "schema": {"type": "integer", "minimum": 0},
            "description": "Yes only in the term with this token.",
        },
        {"name": "leader_code", "in": "query", "schema": {**code, "default": 200}, "description": "The status code of a yes."},
        {"name": "follower_code", "in": "query", "schema": {**code, "default": 503}, "description": "The status code of a no."},
    ]


def _schemas() -> Node:
    text, number, flag, whole = {"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "integer"}
    text_or_null, whole_or_null = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
    store = _object(kind=text, connected=flag, last_seen_ms=whole_or_null)
    answer: Node = {
        "election": text,
        "leader": flag,
        "state": {"type": "string", "enum": [state.value for state in State]},
        "reason": {"type": "string", "enum": [reason.value for reason in Reason]},
        "token": whole_or_null,
        "token_text": text_or_null,
        "instance": text,
        "leader_instance": text_or_null,
        "valid_for_ms": whole_or_null,
        "valid_until_boottime_ns": whole_or_null,
        "lease_remaining_ms": whole_or_null,
        "term_started_at": {"type": ["string", "null"], "format": "date-time"},
        "index": whole,
        "store": store,
    }
    candidate = _object(instance=text, token=whole_or_null, leader=flag, own=flag)
    candidates = {"type": "array", "items": candidate}
    timing = _object(ttl_s=number, renew_every_s=number, valid_for_max_s=number, promise_s=number)
    pause = {"type": ["object", "null"], "properties": {"by": text, "reason": text, "expires_at": text_or_null}}
    pause["required"] = list(pause["properties"])
    elections = {"type": "array", "items": {"$ref": "#/components/schemas/Election"}}
    return {
        "Answer": _object(**answer),
        "Election": _object(**answer, detail=text_or_null, pause=pause, candidates=candidates, timing=timing),
        "Overview": _object(instance=text, instance_uid=text_or_null, incarnation=text, store=store, elections=elections),
        "Who": _object(
            name={"type": "string", "description": "Empty when unsure."},
            last_update={"type": ["string", "null"], "format": "date-time"},
        ),
        "Version": _object(name=text, version=text, api=text, python=text),
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text,
                "title": text,
                "status": whole,
                "detail": text,
                "parameter": text,
                "value": text,
                "rule": text,
            },
        },
    }


def _object(**properties: Node) -> Node:
    return {"type": "object", "required": list(properties), "properties": properties}
