"""A staging cluster of the user's own: what may be done to which instance and to which store node, by commands that the user wrote,
each with its undoing.

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
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import yaml

from chaos.faults.cut import Cut
from chaos.faults.freeze import Freeze
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.scenario import Inject, Scenario, ScenarioError, Store

FILE = "rollback.ndjson"
_TIMEOUT_S = 60.0
_TRIES = 3
_PODS = ("leader", "followers", "candidates")
_NODES = ("leader-node", "store-leader", "store-followers", "stores", "minority", "majority")
_TOLD_BY_THE_STORE = ("store-leader", "store-followers")
"""Roles of nodes that only the store itself can tell."""
_FROM_QUORUM = {"leader-node": ("other-nodes",), "store-leader": ("store-followers", "other-nodes"), "minority": ("majority",)}
"""By who is cut: from whom, where that is all other nodes."""
Command = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
Kind = Literal["cut", "freeze", "kill", "terminate"]
NodeKind = Literal["cut", "freeze", "kill"]


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that may be done, and what undoes it: harmless when done twice, or when nothing had been done. `verify` ends with 0
    once it bites; of an instance the probe sees that, of a store node nobody else does.
    """

    do: Command
    undo: Command
    verify: Command | None = None


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`socket`: its daemon's Unix socket, on this machine (`ssh -L` forwards one). `host`: the name that `--allow` has to give."""

    name: str
    host: str
    socket: str
    actions: dict[Kind, Action]
    node: str = ""
    """The only store node that it is configured with, where that is so."""


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node of the store. `cut`: from all other nodes, while clients still reach it. `leads` ends with 0 at the leading one."""

    name: str
    host: str
    actions: dict[NodeKind, Action]
    leads: Command | None = None


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster: which election is looked at, the store's kind and the ttl (for the bounds), the instances that stand in it."""

    election: str
    store: Store
    ttl: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m)$")]
    instances: Annotated[tuple[Instance, ...], msgspec.Meta(min_length=2)]
    nodes: tuple[Node, ...] = ()


class RollbackError(RuntimeError):
    """Something is still broken there; the text has the commands that a person has to run."""


def load(path: Path) -> Targets:
    """The targets of a file. Raises `ScenarioError`."""
    try:
        found = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Targets)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    names = [each.name for each in found.instances] + [each.name for each in found.nodes]
    if len(set(names)) < len(names):
        raise ScenarioError(f"{path}: two instances or nodes have one name")
    for instance in found.instances:
        if instance.node and instance.node not in {node.name for node in found.nodes}:
            raise ScenarioError(f"{path}: {instance.name} is attached to {instance.node}, which is none of the nodes")
    for node in found.nodes:
        unseen = [kind for kind, action in node.actions.items() if action.verify is None]
        if unseen:
            raise ScenarioError(f"{path}: {node.name}: {', '.join(unseen)}: give it `verify`, for no probe sees a store node")
    return found


def check_allowed(targets: Targets, found: Scenario, allowed: Sequence[str]) -> None:
    """Refuse unless every host has been named by whoever types: of the instances, and of the nodes if one is aimed at. Raises
    `ScenarioError`.
    """
    aimed = any(wanted.of_nodes for wanted in map(action_of, _faults(found)) if wanted is not None)
    named = [each.host for each in targets.instances] + ([each.host for each in targets.nodes] if aimed else [])
    hosts = list(dict.fromkeys(named))
    missing = [host for host in hosts if host not in allowed]
    if missing:
        raise ScenarioError(
            f"not allowed to touch {', '.join(missing)}: this breaks things there on purpose. If that is meant, add "
            + " ".join(f"--allow {host}" for host in missing)
        )


class Wanted(NamedTuple):
    """The kind of action that a step wants, in which role, and whether that is one of store nodes."""

    kind: Kind
    role: str
    of_nodes: bool


def action_of(step: Inject) -> Wanted | None:
    """What a step wants; None where only a bed of our own has it."""
    match step.fault:
        case Cut(source=role, to="stores", one_way=False) if role in _PODS:
            return Wanted("cut", role, of_nodes=False)
        case Cut(source=role, to=others, one_way=False) if others in _FROM_QUORUM.get(role, ()):
            return Wanted("cut", role, of_nodes=True)
        case Freeze(at=role, what="daemon") if role in _PODS:
            return Wanted("freeze", role, of_nodes=False)
        case Freeze(at=role, what="node") if role in _NODES:
            return Wanted("freeze", role, of_nodes=True)
        case Kill(at=role) if role in _PODS:
            return Wanted("kill", role, of_nodes=False)
        case KillNode(at=role) if role in _NODES:
            return Wanted("kill", role, of_nodes=True)
        case Terminate(at=role, again_ms=0) if role in _PODS:
            return Wanted("terminate", role, of_nodes=False)
        case _:
            return None


def _faults(found: Scenario) -> list[Inject]:
    return [step for step in found.method if isinstance(step, Inject)]


def check_able(targets: Targets, found: Scenario) -> None:
    """Refuse a scenario that the targets have no commands for. Raises `ScenarioError`."""
    for step in _faults(found):
        wanted = action_of(step)
        if wanted is None:
            raise ScenarioError(f"the fault {step.name} cannot be carried out on an attached cluster: only cuts, freezes, ends can")
        if wanted.of_nodes:
            _check_nodes(targets, step.name, wanted)
        whom: Sequence[Instance | Node] = targets.nodes if wanted.of_nodes else targets.instances
        without = [each.name for each in whom if wanted.kind not in each.actions]
        if without:
            raise ScenarioError(f"the fault {step.name} needs the action `{wanted.kind}` of {', '.join(without)}: anybody may lead")


def _check_nodes(targets: Targets, name: str, wanted: Wanted) -> None:
    if not targets.nodes:
        raise ScenarioError(f"the fault {name} is aimed at a store node: the targets have no `nodes`")
    if wanted.role == "leader-node" and not all(each.node for each in targets.instances):
        raise ScenarioError(f"the fault {name} asks which node the leader is attached to: give each instance its `node`")
    if wanted.role in _TOLD_BY_THE_STORE and not all(each.leads for each in targets.nodes):
        raise ScenarioError(f"the fault {name} asks which node is the store's leader: give each node `leads`")


def nodes_of(targets: Targets, role: str, leader: Instance) -> list[Node]:
    """Who plays that part now. Raises `LookupError` where no node says that it is the store's leader."""
    nodes = list(targets.nodes)
    match role:
        case "leader-node":
            return [node for node in nodes if node.name == leader.node]
        case "stores":
            return nodes
        case "minority":
            return nodes[: (len(nodes) - 1) // 2]
        case "majority":
            return nodes[(len(nodes) - 1) // 2 :]
        case _:
            leading = next((node for node in nodes if node.leads is not None and run(node.leads) is None), None)
            if leading is None:
                raise LookupError("no node says that it is the store's leader")
            return [leading] if role == "store-leader" else [node for node in nodes if node is not leading]


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
