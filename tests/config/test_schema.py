"""The schema agrees with the loader, as far as a schema can. Validated by the few rules of JSON Schema that it uses."""

import re

import pytest
import yaml

from leaderd.config.keys import KEYS
from leaderd.config.schema import json_schema
from tests.config.test_bad_input import ELECTIONS, SECRETS, UNKNOWN, VALUES, nested

TYPES = {"object": dict, "array": list, "string": str, "null": type(None)}
USED = {
    "$schema",
    "title",
    "description",
    "type",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "pattern",
    "enum",
    "anyOf",
}
USED |= {"minLength", "maxLength", "minimum", "maximum", "minItems", "uniqueItems"}
# What no schema can see: files, ports already used, relations between keys, what exists on this host.
BEYOND = (
    "no such file|already|without TLS|three renewals|a hundredth|valid for|promised|to lead|grants|above zero|directory|"
    "group on this host|109 bytes|two renewals|NUL|is the port|the port|path segment|host:port|IPv6|neither|no host name|"
    "control characters"
)


def is_type(value, name):
    if name in {"number", "integer"}:
        return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def valid(value, schema):
    assert set(schema) <= USED, schema
    if "anyOf" in schema:
        return any(valid(value, each) for each in schema["anyOf"])
    if "enum" in schema:
        return any(value == each and type(value) is type(each) for each in schema["enum"])
    types = schema.get("type", [])
    if types and not any(is_type(value, name) for name in ([types] if isinstance(types, str) else types)):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", "").replace("$", r"\Z"), value) is not None and schema.get("minLength", 0) <= len(
            value
        ) <= schema.get("maxLength", 1e9)
    if isinstance(value, list):
        unique = not schema.get("uniqueItems") or len({repr(each) for each in value}) == len(value)
        return unique and len(value) >= schema.get("minItems", 0) and all(valid(each, schema["items"]) for each in value)
    if isinstance(value, dict):
        known = schema["properties"]
        return all(k in known and valid(v, known[k]) for k, v in value.items()) and set(schema.get("required", [])) <= set(value)
    if isinstance(value, int | float):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return True


class Words(yaml.SafeLoader):
    """YAML 1.2, as editors read it: no `off` that is false, no octal, no dates."""


WORDS = {"null", "float", "int"}
Words.yaml_implicit_resolvers = {
    first: [
        (tag, rule) for tag, rule in rules if tag.rpartition(":")[2] in ({"float"} if first == "0" else {"null", "float", "int"})
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def accepts(text):
    return valid(yaml.load(text, Words), json_schema())


@pytest.mark.parametrize(("key", "value", "rule"), [row for row in VALUES if not re.search(BEYOND, row[2])])
def test_refuses_the_bad_values_the_loader_refuses(key, value, rule):
    assert not accepts(nested(key, value))


@pytest.mark.parametrize("line", [row[0] for row in UNKNOWN if not row[0].startswith("<<")] + SECRETS)
def test_refuses_unknown_keys(line):
    assert not accepts(line)


@pytest.mark.parametrize("line", [row[0] for row in ELECTIONS])
def test_refuses_bad_elections(line):
    assert not accepts(line)


GOOD = [
    "store:\ntiming:\nlisten:\n",
    "instance: a",
    "instance: 12",
    "store: {url: 'etcd://h1:2379,h2:2379/x', tls: {ca_file: x, cert_file: x, key_file: x}, auth: {username: u, password_file: x}}",
    "store: {url: 'local:///srv/a@b'}",
    "timing: {ttl: 10s, renew_every: 2s, promise: 1s, clock_drift: 0.01, margin: 500ms, on_suspend: step_down}",
    "timing: {clock_drift: '0.01', ttl: 1.5m}",
    "timing: {clock_drift: 0}",
    "elections: [{name: a}, {name: b}]",
    "listen: {http: off, ops: '[::]:4041', socket: off, grpc: off}",
    "listen: {http: localhost:1, socket: /run/x.sock}",
    "listen: {grpc: 'unix:'}",
    "listen: {grpc: unix:/run/grpc.sock}",
    "listen: {grpc: '127.0.0.1:4042'}",
    "listen: {socket: {path: /run/x, mode: '0660', group: app}}",
    "listen: {socket: {path: off, mode: 660, group: 12}}",
    "log: {format: json, level: debug}",
    "http: {hosts: [a.b, 127.0.0.1]}",
    "operators: {uids: [0, 1000]}",
]


@pytest.mark.parametrize("text", GOOD)
def test_accepts_what_the_loader_accepts(text):
    assert accepts(text)


def test_describes_every_key():
    for key in KEYS:
        place = json_schema()
        for part in key.path.split("."):
            place = next((each for each in place.get("anyOf", []) if "properties" in each), place)["properties"][part]
        assert key.meaning in place["description"]
