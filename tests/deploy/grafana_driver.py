"""Runs in the validators' environment, which has Grafana's own model of a dashboard: reads DASHBOARD with it, names what is off.

Prints a list, as JSON: keys of the file that the model does not know and would not write back, values that it writes back
otherwise, and values of a kind it does not take. What the model adds, its defaults, is no fault.
"""

import enum
import json
import sys
import types
import typing
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(given: object, back: object, where: str) -> list[str]:
    """What of the file is not in what the model writes back, or is there as something else."""
    if isinstance(given, dict) and isinstance(back, dict):
        unknown = [f"{where}.{key}: not in the model" for key in given.keys() - back.keys()]
        return unknown + [text for key in given.keys() & back.keys() for text in lost(given[key], back[key], f"{where}.{key}")]
    if isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        return [text for n, pair in enumerate(zip(given, back, strict=True)) for text in lost(*pair, f"{where}[{n}]")]
    return [] if given == back else [f"{where}: {given!r} becomes {back!r}"]


def mistyped(value: object, hint: object, where: str) -> list[str]:
    """What is not of the kind that the model says; the SDK's own reader takes anything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [mistyped(value, each, where) for each in inner]
        inside = [texts for texts in found if texts and not texts[0].startswith(f"{where}: ")]
        return [] if [] in found else (inside or found)[0]
    if origin is list and isinstance(value, list):
        return [text for n, each in enumerate(value) for text in mistyped(each, inner[0], f"{where}[{n}]")]
    if origin is dict and isinstance(value, dict):
        return [text for key, each in value.items() for text in mistyped(each, inner[1], f"{where}.{key}")]
    kind = origin or hint
    if kind in (object, typing.Any):
        return mistyped(value, type(value), where) if hasattr(value, "to_json") else []
    choices: list[object] = list(inner) if origin is typing.Literal else []
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = [each.value for each in kind]
    if choices:
        return [] if value in choices else [f"{where}: {value!r} is none of {choices}"]
    if not isinstance(kind, type):
        raise TypeError(f"{where}: {hint!r} is a kind of hint that this file does not read")
    if not isinstance(value, (int, float) if kind is float else kind) or (isinstance(value, bool) and kind is not bool):
        return [f"{where}: {value!r} is no {kind.__name__}"]
    # Of an interface, such as a query's, the object's own class says more.
    own = typing.get_type_hints(type(value)) if hasattr(value, "to_json") else {}
    return [text for name, each in own.items() for text in mistyped(getattr(value, name), each, f"{where}.{name}")]


def main(path: str) -> None:
    """Read, compare, print."""
    plugins.register_default_plugins()
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    board = Dashboard.from_json(given)
    back = json.loads(JSONEncoder().encode(board))
    sys.stdout.write(json.dumps(sorted(lost(given, back, "dashboard")) + mistyped(board, Dashboard, "dashboard")))


if __name__ == "__main__":
    main(sys.argv[1])
