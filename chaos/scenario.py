"""A scenario as its file says it: what is set up, what is done in which order, what must hold. Nothing unknown passes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from chaos.faults import Fault
from chaos.topology import Topology

FOLDER = Path(__file__).with_name("scenarios")
Store = Literal["etcd", "zookeeper", "consul"]
Span = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|ttl|bound)$")]
"""How long: `500ms`, `8s`, `2ttl` (times the ttl), `1bound` (times what a fail-over may take on the store at hand)."""
Length = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s)$")]
"""How long, whatever the store: `500ms`, `2s`."""


class ScenarioError(ValueError):
    """A file that is no scenario; the text says where and why."""


class Inject(msgspec.Struct, frozen=True, tag="inject", tag_field="step", forbid_unknown_fields=True, omit_defaults=True):
    """Inject a fault, and show by its probe that it bites."""

    fault: Fault
    name: str = "fault"


class Heal(msgspec.Struct, frozen=True, tag="heal", tag_field="step", forbid_unknown_fields=True, omit_defaults=True):
    """End the fault of that name; all of them without one."""

    name: str = ""


class Hold(msgspec.Struct, frozen=True, tag="hold", tag_field="step", forbid_unknown_fields=True, omit_defaults=True):
    """Let time pass under observation; with `nobody`, it is a failure if somebody leads meanwhile."""

    time: Span
    nobody: bool = False


class AwaitLeader(
    msgspec.Struct, frozen=True, tag="await-leader", tag_field="step", forbid_unknown_fields=True, omit_defaults=True
):
    """Wait until somebody leads; with `other`, somebody else than who led when the last fault was injected."""

    within: Span = "1bound"
    other: bool = False


class AwaitNobody(
    msgspec.Struct, frozen=True, tag="await-nobody", tag_field="step", forbid_unknown_fields=True, omit_defaults=True
):
    """Wait until no instance says yes."""

    within: Span = "1ttl"


Step = Inject | Heal | Hold | AwaitLeader | AwaitNobody
After = Heal | Hold | AwaitLeader


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What goes on meanwhile. `slot`: how often the job of an app is due, which writes once in each if it leads. `promise`: for how
    long a yes is asked for, by apps and probes. `poll`: how often each instance is asked by its probe; a herd is asked less often.
    """

    slot: Length = "500ms"
    promise: Length = "300ms"
    poll: Length = "10ms"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is expected otherwise of one store: any field of `Expect`."""

    moves: int | tuple[int, int] | msgspec.UnsetType | None = msgspec.UNSET
    recovers_within: Span | msgspec.UnsetType = msgspec.UNSET
    stale_unfenced: bool | msgspec.UnsetType = msgspec.UNSET
    overlap: bool | msgspec.UnsetType = msgspec.UNSET
    clock_rate: float | msgspec.UnsetType = msgspec.UNSET
    writes: int | msgspec.UnsetType | None = msgspec.UNSET


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must hold besides safety, which always must. `moves`: how many new terms the faults cause, or between how many, None for
    any number.

    `stale_unfenced`: the run is a negative control, so the resource without a fence must have taken a stale write.
    """

    moves: int | tuple[int, int] | None = None
    recovers_within: Span = "1bound"
    stale_unfenced: bool = False
    overlap: bool = False
    """The run is a negative control of another kind: a clock runs beyond what is allowed for, so two must be seen to lead, and only
    the tokens tell them apart.
    """
    clock_rate: float = 1.0
    """How many seconds a second the clock shows that the faults change. A promise by a slow one holds for so much longer."""
    writes: int | None = None
    """How many writes of the apps the fenced resource has to take at least."""
    by_store: dict[Store, Expected] = {}
    """Where one store differs."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file. `why` says what would go wrong without the safeguard under test.

    `rollback` comes after the method; what it leaves in force is healed when it is over. When a run is interrupted or fails,
    everything is healed at once.
    """

    title: str
    why: str
    method: tuple[Step, ...]
    stores: tuple[Store, ...] = ("etcd", "zookeeper", "consul")
    topology: Topology = Topology()
    workload: Workload = Workload()
    rollback: tuple[After, ...] = (Heal(),)
    expect: Expect = Expect()
    smoke: bool = False
    """Whether it belongs to the small set that runs at every change."""


def load(name: str, variables: Sequence[str] = ()) -> Scenario:
    """The scenario of the catalogue with that name, or the file at that path, with `NAME=VALUE` for other values in its topology or
    workload. Raises `ScenarioError`.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        found = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Scenario)
    except FileNotFoundError:
        raise ScenarioError(f"no scenario {name}: `leaderd-chaos list` names them, or give a path that ends in .yaml") from None
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    return _varied(found, variables) if variables else found


def shifted(found: Scenario, seed: int, ttl_s: float) -> Scenario:
    """The scenario with each fault put off by up to a third of the ttl, so that it meets the renewals at another instant; a seed is
    always the same shift, and 0 is none.
    """
    if not seed:
        return found
    chance = random.Random(seed)
    method: list[Step] = []
    for step in found.method:
        if isinstance(step, Inject):
            method.append(Hold(time=f"{round(chance.uniform(0.0, ttl_s / 3), 3):.3f}s"))
        method.append(step)
    return msgspec.structs.replace(found, method=tuple(method))


def for_store(found: Scenario, store: str) -> Scenario:
    """The scenario as it is for one store: what is expected of that one is what is expected."""
    differs = {name: own for each, own in found.expect.by_store.items() if each == store for name, own in _set(own)}
    return msgspec.structs.replace(found, expect=msgspec.structs.replace(found.expect, by_store={}, **differs))


def _set(own: Expected) -> list[tuple[str, Any]]:
    values = ((name, getattr(own, name)) for name in own.__struct_fields__)
    return [(name, value) for name, value in values if value is not msgspec.UNSET]


def _varied(found: Scenario, variables: Sequence[str]) -> Scenario:
    parts = {"topology": found.topology, "workload": found.workload}
    values = {part: {name: getattr(own, name) for name in own.__struct_fields__} for part, own in parts.items()}
    for each in variables:
        name, equals, value = each.partition("=")
        part = next((part for part, own in values.items() if name in own), None)
        if not equals or part is None:
            known = ", ".join(name for own in values.values() for name in own)
            raise ScenarioError(f"--var {each}: write NAME=VALUE, where NAME is one of {known}")
        values[part][name] = int(value) if value.isdigit() else value
    try:
        changed = {part: msgspec.convert(values[part], type(own)) for part, own in parts.items()}
    except msgspec.ValidationError as error:
        raise ScenarioError(f"--var {' '.join(variables)}: {error}") from None
    return msgspec.structs.replace(found, **changed)


def text(found: Scenario) -> str:
    """The scenario as a file that `load` reads."""
    facts = {name: value for name, value in msgspec.to_builtins(found).items() if value not in ({}, None)}
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120)


def names() -> list[str]:
    """The catalogue; a regression is called `regressions/NAME`."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def schema() -> dict[str, Any]:
    """The JSON schema of a scenario file; `chaos/scenarios/schema.json` is this, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A scenario of leaderd-chaos"}
    return head | msgspec.json.schema(Scenario)


def seconds(span: str, ttl_s: float, bound_s: float) -> float:
    """A `Span` in seconds. Raises `ScenarioError`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|ttl|bound)", span)
    if match is None:
        raise ScenarioError(f"{span!r} is no time: 500ms, 8s, 2ttl or 1bound")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "ttl": ttl_s, "bound": bound_s}[match[2]]
