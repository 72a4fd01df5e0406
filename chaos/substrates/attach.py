"""A staging cluster of the user's own: what may be done to which instance, by commands that the user wrote, each with its undoing.

The commands are all that this suite does there. Each undoing is on disk before its command is run, so that not even a killed run
leaves something broken for good: `rollback RUN_DIR` does what is still to be undone.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from chaos.faults.cut import Cut
from chaos.faults.freeze import Freeze
from chaos.faults.kill import Kill, Terminate
from chaos.scenario import Inject, Scenario, ScenarioError, Store

FILE = "rollback.ndjson"
_TIMEOUT_S = 60.0
_TRIES = 3
_PODS = ("leader", "followers", "candidates")
Command = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
Kind = Literal["cut", "freeze", "kill", "terminate"]


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that may be done to an instance, and what undoes it: harmless when done twice, or when nothing had been done."""

    do: Command
    undo: Command


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`socket`: its daemon's Unix socket, on this machine (`ssh -L` forwards one). `host`: the name that `--allow` has to give."""

    name: str
    host: str
    socket: str
    actions: dict[Kind, Action]


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster: which election is looked at, the store's kind and the ttl (for the bounds), the instances that stand in it."""

    election: str
    store: Store
    ttl: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m)$")]
    instances: Annotated[tuple[Instance, ...], msgspec.Meta(min_length=2)]


class RollbackError(RuntimeError):
    """Something is still broken there; the text has the commands that a person has to run."""


def load(path: Path) -> Targets:
    """The targets of a file. Raises `ScenarioError`."""
    try:
        found = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Targets)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    names = [each.name for each in found.instances]
    if len(set(names)) < len(names):
        raise ScenarioError(f"{path}: two instances have one name")
    return found


def check_allowed(targets: Targets, allowed: Sequence[str]) -> None:
    """Refuse unless every host has been named by whoever types. Raises `ScenarioError`."""
    hosts = list(dict.fromkeys(each.host for each in targets.instances))
    missing = [host for host in hosts if host not in allowed]
    if missing:
        raise ScenarioError(
            f"not allowed to touch {', '.join(missing)}: this breaks things there on purpose. If that is meant, add "
            + " ".join(f"--allow {host}" for host in missing)
        )


def action_of(step: Inject) -> tuple[Kind, str] | None:
    """The kind of action that a step wants, and in which role; None where only a bed of our own has it."""
    match step.fault:
        case Cut(source=role, to="stores", one_way=False) if role in _PODS:
            return "cut", role
        case Freeze(at=role, what="daemon") if role in _PODS:
            return "freeze", role
        case Kill(at=role) if role in _PODS:
            return "kill", role
        case Terminate(at=role) if role in _PODS:
            return "terminate", role
        case _:
            return None


def check_able(targets: Targets, found: Scenario) -> None:
    """Refuse a scenario that the targets have no commands for. Raises `ScenarioError`."""
    for step in found.method:
        if not isinstance(step, Inject):
            continue
        wanted = action_of(step)
        if wanted is None:
            raise ScenarioError(f"the fault {step.name} cannot be carried out on an attached cluster: only cuts, freezes, ends can")
        without = [each.name for each in targets.instances if wanted[0] not in each.actions]
        if without:
            raise ScenarioError(f"the fault {step.name} needs the action `{wanted[0]}` of {', '.join(without)}: anybody may lead")


class Rollback:
    """What is to be undone, on disk before it is done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def begin(self, name: str, undo: Sequence[str]) -> int:
        """Before a command is run: its undoing. Returns the number to `undo`."""
        number = len(self._lines())
        self._append({"number": number, "name": name, "undo": list(undo)})
        return number

    def pending(self) -> list[tuple[int, str, list[str]]]:
        """What is still to be undone, newest first."""
        lines = self._lines()
        over = {line["undone"] for line in lines if "undone" in line}
        found = [(line["number"], line["name"], line["undo"]) for line in lines if "undo" in line and line["number"] not in over]
        return found[::-1]

    def undo(self, number: int | None = None) -> list[str]:
        """Undo one, or all that is pending; returns their names. All are tried. Raises `RollbackError` if one fails."""
        over, failed = [], []
        for each, name, command in self.pending():
            if number is not None and each != number:
                continue
            error = _undone(command)
            if error is None:
                self._append({"undone": each})
                over.append(name)
            else:
                failed.append(f"{name}: {error}; run it by hand: {shlex.join(command)}")
        if failed:
            raise RollbackError("STILL BROKEN: " + "; ".join(failed))
        return over

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        texts = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        # One without its end was cut off by a crash of the machine, before its command was run.
        return [json.loads(text) for text in texts if text.endswith("}\n")]

    def _append(self, line: dict[str, object]) -> None:
        with self._path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() and self._path.read_bytes()[-1:] != b"\n":
                file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def run(command: Sequence[str]) -> str | None:
    """Run it to its end, out of reach of a Ctrl-C; returns what went wrong, None if nothing did."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, start_new_session=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {_TIMEOUT_S:g} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return None if done.returncode == 0 else f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}"


def _undone(command: Sequence[str]) -> str | None:
    error: str | None = None
    for _ in range(_TRIES):
        error = run(command)
        if error is None:
            break
    return error
