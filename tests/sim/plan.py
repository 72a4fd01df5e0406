"""What a seed draws: the fleet, its timings, its clocks, and which few kinds of faults strike when (swarm testing).

Few kinds at a time, drawn anew for every seed, find more than all kinds at once: a fault that ends every session hides the one
that needs a session to live long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from leaderd.election.timing import RULES, Timing
from tests.sim.faults import KINDS

STORES = ("local", "etcd", "zookeeper", "consul")


@dataclass(frozen=True)
class Strike:
    """One fault: when, of which kind, for how long, with a number in [0, 1) for what else it has to choose."""

    at_s: float
    kind: str
    for_s: float
    dose: float
    aimed: bool
    """At the leader; else at anybody."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before it starts."""

    store: str
    seed: int
    candidates: int
    elections: tuple[str, ...]
    timing: Timing
    one_clock: bool
    rates: tuple[float, ...]
    store_rates: tuple[float, ...]
    twins: bool
    """Whether two candidates have the same instance name."""
    kinds: tuple[str, ...]
    strikes: tuple[Strike, ...]
    heal_s: float
    end_s: float
    bound_s: float
    tick_s: float = 0.5
    sync_limit: int = 3
    reap_after_s: float = 1e9
    old_version: bool = False
    ask_every_s: float = 0.5
    orders: tuple[Strike, ...] = ()
    """What operators ask for meanwhile: pauses and transfers."""


def draw(store: str, seed: int, kinds: tuple[str, ...] | None = None) -> Plan:
    """The plan of a seed; `kinds` restricts the faults to choose from."""
    rng = Random(seed * 4 + STORES.index(store))
    drift = rng.choice((0.01, 0.02, 0.05, 0.1))
    one_clock = store == "local" and rng.random() < 0.4
    tick_s = rng.choice((0.5, 1.0))
    sync_limit = rng.choice((2, 3, 5))
    timing = _timing(store, rng, drift, tick_s)
    elections = tuple(f"e{i}" for i in range(rng.choice((1, 1, 1, 2, 3))))
    candidates = rng.choice((2, 3, 3, 4, 5) if len(elections) == 1 else (2, 3))
    nodes = 1 if store == "local" else 3

    def rate() -> float:
        # Often at the ends of what is allowed: half the drift on either side.
        return 1.0 + drift / 2.0 * rng.choice((-1.0, -1.0, 0.0, 1.0, 1.0, rng.uniform(-1.0, 1.0)))

    shared = rate()
    rates = tuple(shared if one_clock else rate() for _ in range(candidates))
    store_rates = tuple(shared if one_clock else rate() for _ in range(nodes))
    worst_s = _expiry_s(store, timing, tick_s, sync_limit)
    possible = [kind for kind in kinds or tuple(KINDS) if KINDS[kind].suits(store, one_clock)]
    lots = [kind for kind in possible for _ in range(KINDS[kind].weight)]
    chosen = tuple(sorted({rng.choice(lots) for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 5)))}))
    heal_s = rng.uniform(20.0, 50.0)
    bound_s = 1.6 * worst_s + 3.0
    return Plan(
        store=store,
        seed=seed,
        candidates=candidates,
        elections=elections,
        timing=timing,
        one_clock=one_clock,
        rates=rates,
        store_rates=store_rates,
        twins=rng.random() < 0.3,
        kinds=chosen,
        strikes=_strikes(chosen, timing, heal_s, worst_s, rng),
        heal_s=heal_s,
        end_s=heal_s + bound_s + 3.0,
        bound_s=bound_s,
        tick_s=tick_s,
        sync_limit=sync_limit,
        reap_after_s=rng.choice((1e9, 0.5, 3.0)),
        old_version=rng.random() < 0.3,
        ask_every_s=rng.choice((0.25, 0.5, 1.0)),
    )


def with_orders(plan: Plan, kinds: tuple[str, ...] = ("pause", "transfer")) -> Plan:
    """The same plan, and operators at work in it. Drawn apart, so that the plan itself stays what it was."""
    rng = Random(f"{plan.store} {plan.seed} orders")
    orders, at_s = [], rng.uniform(2.0, 10.0)
    while at_s < plan.heal_s:
        for_s = min(rng.choice((0.5, 2.0, 6.0)) * rng.uniform(0.5, 1.5), plan.heal_s - at_s)
        orders.append(Strike(at_s, rng.choice(kinds), for_s, rng.random(), aimed=True))
        at_s += for_s + rng.expovariate(1.0 / 6.0)
    return replace(plan, orders=tuple(orders))


def _timing(store: str, rng: Random, drift: float, tick_s: float) -> Timing:
    ttl_s = {
        "local": lambda: rng.choice((1.0, 2.0, 3.0, 5.0)),
        "etcd": lambda: rng.choice((3.0, 5.0, 8.0)),
        # From the least a server grants to more than it does: the negotiated time counts.
        "zookeeper": lambda: rng.choice((2.0 * tick_s, 3.0, 4.0, 6.0, 9.0, 40.0 * tick_s)),
        "consul": lambda: rng.choice((5.0, 6.0, 10.0)),
    }[store]()
    rule = RULES[store]
    margin_s = min(0.5, ttl_s / 20.0)
    if rule.keeps_s(ttl_s) * (1.0 - drift) - margin_s < 0.5:
        margin_s = 0.05
    return Timing(
        ttl_s=ttl_s,
        renew_every_s=ttl_s / rng.choice((3.0, 5.0, 5.0, 8.0)),
        promise_s=min(rng.choice((0.3, 1.0, 1.0, 3.0)), ttl_s / 2.0),
        drift=drift,
        margin_s=margin_s,
        step_down_on_suspend=rng.random() < 0.15,
    )


def _expiry_s(store: str, timing: Timing, tick_s: float, sync_limit: int) -> float:
    """From the last word of a leader to its entry's end, at most, a change of the store's own leader included."""
    ttl_s = timing.ttl_s
    if store == "local":
        return ttl_s * 1.1 + 0.1
    if store == "etcd":
        return ttl_s * 1.1 + 4.0
    if store == "zookeeper":
        granted_s = min(max(ttl_s, 2.0 * tick_s), 20.0 * tick_s)
        return granted_s * 1.1 + tick_s + sync_limit * tick_s + 1.5
    return 3.0 * ttl_s * 1.1 + 5.0


def _strikes(kinds: tuple[str, ...], timing: Timing, heal_s: float, worst_s: float, rng: Random) -> tuple[Strike, ...]:
    strikes = []
    at_s = rng.uniform(1.0, 5.0)
    while at_s < heal_s:
        kind = rng.choice(kinds)
        lasts_s = rng.choice((0.3, 0.8, 1.2, 2.0)) * timing.ttl_s * rng.uniform(0.5, 1.5)
        if rng.random() < 0.2:
            # Long enough for the others to be expected to get over it.
            lasts_s = rng.uniform(2.0, 3.0) * worst_s + 4.0
        strikes.append(Strike(at_s, kind, min(lasts_s, heal_s - at_s), rng.random(), rng.random() < 0.7))
        at_s += rng.expovariate(1.0 / rng.choice((0.5, 3.0, 3.0, 6.0)))
    return tuple(strikes)
