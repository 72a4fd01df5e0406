"""The JSON schema of the file, made from the table of keys: for editors, and for checks before a roll-out.

It says what a schema can: keys, types, grammars, choices. Files that must exist and rules between keys are `config check`'s.
"""

from __future__ import annotations

from typing import Any

from leaderd.config import durations
from leaderd.config.keys import KEYS, SWITCHABLE, Key, Kind
from leaderd.config.values import ELECTION, INSTANCE, MAX_CLOCK_DRIFT, MAX_ID

Schema = dict[str, Any]
_OFF: Schema = {"enum": ["off", "false", False]}
_PATH: Schema = {"type": "string", "minLength": 1}
_SOCKET: Schema = {"type": "string", "pattern": "^/.*[^/]$", "maxLength": 107}


def json_schema() -> Schema:
    """The schema, as JSON Schema draft 2020-12."""
    root = _section("leaderd configuration")
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for key in KEYS:
        parts = key.path.split(".")
        place = root
        for depth, part in enumerate(parts[:-1]):
            place = place["properties"].setdefault(part, _section(".".join(parts[: depth + 1])))
        rule = _rule(key)
        place["properties"][parts[-1]] = {"description": f"{key.meaning} (default: {key.default})", **rule}
    # The one section that may be a single word.
    listen = root["properties"]["listen"]["properties"]
    name = SWITCHABLE.rpartition(".")[2]
    listen[name] = {"description": listen[name]["properties"]["path"]["description"], "anyOf": [listen[name], _OFF, _SOCKET]}
    return root


def _section(title: str) -> Schema:
    # A section whose every line is commented out is null.
    return {"title": title, "type": ["object", "null"], "additionalProperties": False, "properties": {}}


def _rule(key: Key) -> Schema:
    name: Schema = {"type": ["string", "integer"], "pattern": f"^{INSTANCE.pattern}$"}
    election: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": {"type": ["string", "integer"], "pattern": f"^{ELECTION.pattern}$"}},
    }
    host_port: Schema = {"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"}
    number = {"type": "number", "minimum": 0, "maximum": MAX_CLOCK_DRIFT}
    uid: Schema = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_ID}, {"type": "string", "pattern": "^[0-9]{1,10}$"}]}
    rules: dict[Kind, Schema] = {
        Kind.NAME: name,
        Kind.URL: {"type": "string", "pattern": r"^((zookeeper|etcd|consul)s?://[^@?#]+|local:///[^?#]+)$"},
        Kind.FILE: _PATH,
        Kind.SECRET_FILE: _PATH,
        Kind.TEXT: {"type": ["string", "integer"], "minLength": 1, "maxLength": 256},
        Kind.DURATION: {"type": "string", "pattern": durations.PATTERN},
        Kind.FRACTION: {"anyOf": [number, {"type": "string", "pattern": r"^0?(\.[0-2][0-9]*)?$"}]},
        Kind.CHOICE: {"enum": list(key.choices)},
        Kind.ELECTIONS: {"type": "array", "minItems": 1, "uniqueItems": True, "items": election},
        Kind.HOST_PORT: {"anyOf": [_OFF, host_port]},
        Kind.SOCKET_PATH: {"anyOf": [_OFF, _SOCKET]},
        Kind.MODE: {
            "anyOf": [{"type": "string", "pattern": "^(0o?)?[67][0-7]{2}$"}, {"type": "integer", "minimum": 600, "maximum": 777}]
        },
        Kind.GROUP: {"type": ["string", "integer"], "minLength": 1},
        Kind.LISTENER: {"anyOf": [_OFF, host_port, {"type": "string", "pattern": "^unix:((//)?/.*[^/])?$"}]},
        Kind.HOSTS: {"type": "array", "items": {"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.:-]+)$"}},
        Kind.UIDS: {"type": "array", "items": uid},
        Kind.WORDS: {"type": "array", "items": {"type": ["string", "integer"]}},
    }
    return rules[key.kind]
