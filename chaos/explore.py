"""Scenarios composed at random from a seed: the same seed is the same scenario, so what fails can be run again.

A scenario is a few rounds. In each, one to three faults are in force at once; most rounds aim at the leader, where bugs would be.
Each scenario draws from a few kinds only, because a swarm of lopsided mixes finds more than one even mix.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from chaos import judge, scenario
from chaos.mixes import MIXES, Mix
from chaos.runs import Job, RunList, Say
from chaos.scenario import Scenario
from chaos.substrates.menu import MENU

FOLDER = "explored"
AIMED = 0.7
"""The share of rounds in which the leader is hit."""
_AT_ONCE = (1, 2, 2, 3)
"""How many faults a round has: one, two or three."""
_KINDS = 3
"""From so many kinds of each sort a scenario draws."""


def compose(seed: int, substrate: str = "netns") -> Scenario:
    """The scenario of a seed, of what that substrate can do."""
    chance = random.Random(seed)
    special = chance.choice(["", *sorted({mix.wants for mix in MIXES if mix.wants and _can(substrate, mix, _wanted(mix.wants))})])
    wanted = _wanted(special)
    # A proxy has the addresses of the store nodes, not their names; and stands before no container.
    topology = wanted if "names" in wanted or substrate == "docker" else {"via": "proxy", **wanted}
    able = [mix for mix in MIXES if mix.wants in ("", special) and _can(substrate, mix, topology)]
    pool = {sort: _draw(chance, [mix for mix in able if mix.sort == sort]) for sort in ("followers", "leader", "store")}
    method: list[dict[str, Any]] = [{"step": "hold", "time": "1s"}]
    for number in range(1, chance.randint(2, 4) + 1):
        method += _steps(chance, number, _round(chance, pool))
    facts = {
        "title": f"Composed at random, seed {seed}",
        "why": "Nobody thought of this order of faults. Whatever it is, two never lead at once, and somebody leads again.",
        "topology": topology,
        "method": method,
        "expect": {"recovers_within": "60s"},
    }
    return msgspec.convert(facts, Scenario)


def _wanted(special: str) -> dict[str, str]:
    name, _, value = special.partition("=")
    return {name: value} if name else {}


def _draw(chance: random.Random, mixes: list[Mix]) -> list[Mix]:
    return chance.sample(mixes, min(_KINDS, len(mixes)))


def _round(chance: random.Random, pool: dict[str, list[Mix]]) -> list[Mix]:
    """Of each sort one at most. Followers first, then the leader: once it is hit nobody may lead, and then nobody follows."""
    number = chance.choice(_AT_ONCE)
    others = [sort for sort in ("followers", "store") if pool[sort]]
    aimed = chance.random() < AIMED or not others
    sorts = chance.sample(others, min(len(others), max(0, number - aimed)))
    chosen = [sort for sort in ("followers", "leader", "store") if sort in sorts or (aimed and sort == "leader")]
    drawn = [chance.choice(pool[sort]) for sort in chosen]
    return [mix for mix in drawn if mix.alone] or drawn


def _steps(chance: random.Random, number: int, faults: Sequence[Mix]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"step": "hold", "time": f"{chance.randint(100, 2000)}ms"}]
    names = [f"fault-{number}{chr(ord('a') + place)}" for place in range(len(faults))]
    for name, mix in zip(names, faults, strict=True):
        if mix.sort != "store":
            # Right before, for what was healed may still cost the term.
            steps.append({"step": "await-leader", "within": "60s"})
        steps.append({"step": "inject", "name": name, "fault": mix.fault})
    steps.append({"step": "hold", "time": f"{chance.uniform(0.2, 2.0):.2f}ttl"})
    over = chance.sample(list(zip(names, faults, strict=True)), len(names))
    if any(mix.fault["fault"] == "cut" for mix in faults if mix.sort != "store"):
        over.sort(
            key=lambda each: each[1].sort != "store"
        )  # that a cut is over is seen at the store nodes, so they have to be there
    for name, _ in over:
        steps.append({"step": "heal", "name": name})
        if chance.random() < 0.5:
            steps.append({"step": "hold", "time": f"{chance.randint(50, 1000)}ms"})
    return steps


def _can(substrate: str, mix: Mix, topology: dict[str, str]) -> bool:
    """Whether it can as such. What this machine lacks is told later, so that a seed is the same everywhere."""
    if mix.fault["fault"] == "toxic" and "via" not in topology:
        return False
    found = {"title": "t", "why": "w", "topology": topology, "method": [{"step": "inject", "fault": mix.fault}]}
    return substrate == "netns" or MENU[substrate].lacks(msgspec.convert(found, Scenario)) is None


def prepare(out: Path, seeds: Sequence[int], stores: Sequence[str], substrate: str, say: Say) -> list[Job]:
    """Write the files of those seeds, and say which runs they make."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for seed in seeds:
        found = compose(seed, substrate)
        reason = MENU["netns"].lacks(found) if substrate != "sim" else None
        if reason is not None:
            say(f"seed {seed} is left out: {reason}")
            continue
        path = folder / f"explored-{seed}.yaml"
        path.write_text(scenario.text(found), encoding="utf-8")
        jobs += [Job(str(path), store, substrate=substrate) for store in found.stores if not stores or store in stores]
    return jobs


def tell(jobs: Sequence[Job], listed: RunList) -> list[str]:
    """Remove the files of what passed; of the rest, how it is run again and how it is kept."""
    lines = []
    over = listed.done(since_last=True)
    for name in dict.fromkeys(job.scenario for job in jobs):
        bad = [done for done in over if done.job.scenario == name and done.verdict != judge.PASS]
        for done in bad:
            by = "" if done.job.substrate == "netns" else f" --substrate {done.job.substrate}"
            lines.append(f"to run it again: run {name} --store {done.job.store}{by}")
            lines.append(f"to keep it:      keep {listed.out / done.folder} NAME --why TEXT")
        if not bad:
            Path(name).unlink()
    return lines
