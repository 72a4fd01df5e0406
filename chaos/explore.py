"""Scenarios composed at random from a seed: the same seed is the same scenario, so what fails can be run again.

Most faults aim at the leader, where bugs would be; each scenario draws from a few kinds only, because a swarm of lopsided mixes
finds more than one even mix. Each fault is healed before the next one, so that somebody leads for it to be aimed at.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from chaos.scenario import Scenario

AIMED = 0.7
"""The share of faults that are aimed at the leader."""
_AT_LEADER: tuple[dict[str, Any], ...] = (
    {"fault": "cut", "from": "leader", "to": "stores"},
    {"fault": "cut", "from": "leader", "to": "stores", "one_way": True},
    {"fault": "cut", "from": "stores", "to": "leader", "one_way": True},
    {"fault": "freeze", "at": "leader"},
    {"fault": "kill", "at": "leader"},
    {"fault": "terminate", "at": "leader"},
    {"fault": "toxic", "at": "leader", "kind": "swallow", "direction": "replies"},
    {"fault": "toxic", "at": "leader", "kind": "reset"},
    {"fault": "toxic", "at": "leader", "kind": "close"},
    {"fault": "freeze", "at": "leader", "what": "pod"},
    {"fault": "flap", "at": "leader", "stop_ms": 700, "run_ms": 100},
    {"fault": "exhaust", "at": "leader"},
)
_ELSEWHERE: tuple[dict[str, Any], ...] = (
    {"fault": "cut", "from": "followers", "to": "stores"},
    {"fault": "freeze", "at": "followers"},
    {"fault": "kill", "at": "followers"},
    {"fault": "restarts", "at": "followers", "times": 5, "least_ms": 100, "most_ms": 1000},
    {"fault": "kill-node", "at": "store-leader"},
    {"fault": "freeze", "at": "store-leader", "what": "node"},
    {"fault": "cut", "from": "store-leader", "to": "store-followers"},
    {"fault": "toxic", "at": "followers", "kind": "delay", "direction": "replies", "ms": 100, "jitter_ms": 50},
)


def compose(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(seed)
    at_leader = chance.sample(_AT_LEADER, 3)
    elsewhere = chance.sample(_ELSEWHERE, 2)
    method: list[dict[str, Any]] = [{"step": "hold", "time": "1s"}]
    for number in range(1, chance.randint(2, 4) + 1):
        fault = chance.choice(at_leader if chance.random() < AIMED else elsewhere)
        name = f"fault-{number}"
        method += [
            {"step": "await-leader", "within": "60s"},
            {"step": "hold", "time": _span(chance, 100, 2000)},
            {"step": "inject", "name": name, "fault": fault},
            {"step": "hold", "time": f"{chance.uniform(0.2, 2.0):.2f}ttl"},
            {"step": "heal", "name": name},
        ]
    facts = {
        "title": f"Composed at random, seed {seed}",
        "why": "Nobody thought of this order of faults. Whatever it is, two never lead at once, and somebody leads again.",
        "topology": {"via": "proxy"},
        "method": method,
        "expect": {"recovers_within": "60s"},
    }
    return msgspec.convert(facts, Scenario)


def _span(chance: random.Random, least_ms: int, most_ms: int) -> str:
    return f"{chance.randint(least_ms, most_ms)}ms"
