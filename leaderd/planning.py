"""What a store and a set of timings mean in seconds: the arithmetic behind `leaderd plan`. Pure.

All of it follows from `election/timing.py`, where the argument is; the times that a store adds of its own are in `STORES`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leaderd.election.timing import RULES, Timing


@dataclass(frozen=True, slots=True)
class StoreTimes:
    """What a store adds to the ttl before another candidate is first, after the leader's machine died.

    `frees_after_ttl`: times the ttl, from the last renewal it handled; `plus_s` on top; `usual_tick`: of the ttl, one tick.
    `freed_s`: how long an orderly release takes to reach the next one (measured by `python -m bench handover`, rounded up).
    """

    frees_after_ttl: float
    plus_s: float
    why: str
    freed_s: float = 0.1


STORES: dict[str, StoreTimes] = {
    "local": StoreTimes(1.0, 0.1, "the ttl, and 100 ms until the others look"),
    "zookeeper": StoreTimes(1.0, 2.0, "the negotiated timeout, rounded up to the servers' next tick, usually 2 s"),
    "etcd": StoreTimes(1.0, 0.5, "the ttl, and etcd's sweep, which runs twice a second"),
    "consul": StoreTimes(3.0, 0.0, "Consul ends a session after twice its ttl; then the lock-delay of one ttl"),
}
_REQUESTS_LEADER, _REQUESTS_FOLLOWER = 3.0, 2.0  # a renewal period; counted on the wire by `python -m bench requests`


@dataclass(frozen=True, slots=True)
class Live:
    """What the store itself said: the ttl it granted, and how long renewals took, in seconds."""

    ttl_s: float
    round_trips_s: tuple[float, ...]
    tick_s: float | None = None
    """ZooKeeper's, where it is told."""

    @property
    def worst_s(self) -> float:
        """The slowest renewal."""
        return max(self.round_trips_s)

    @property
    def median_s(self) -> float:
        """The one in the middle."""
        return sorted(self.round_trips_s)[len(self.round_trips_s) // 2]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a plan: a name for scripts, the words for people, the number in its unit, and what it means."""

    name: str
    words: str
    value: float
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The facts, and what is not safe about them: each a sentence with its remedy."""

    facts: tuple[Fact, ...]
    unsafe: tuple[str, ...]


def make_plan(kind: str, timing: Timing, instances: int, live: Live | None) -> Plan:
    """The plan for `instances` daemons on one store; with `live` by the ttl that the store granted, not the one asked for."""
    rule, store = RULES[kind], _ticking(kind, live)
    ttl_s = live.ttl_s if live is not None else timing.ttl_s
    period_s, valid_s = timing.renewal_period_s(rule, ttl_s), timing.valid_for_s(rule, ttl_s)
    keeps_s = rule.keeps_s(ttl_s)
    failover_s = ttl_s * store.frees_after_ttl + store.plus_s
    facts = [
        Fact("ttl_s", "time to live", ttl_s, "s", "granted by the store" if live else "as configured; a store may grant another"),
        Fact("renew_every_s", "renewal period", period_s, "s", f"{_spare(valid_s, period_s)} renewals in a row may be lost"),
        Fact("detection_s", "detection", valid_s, "s", "a leader that is cut off, or frozen, answers no after at most"),
        Fact("failover_s", "fail-over", failover_s, "s", f"after a crash or a cut, somebody leads after at most: {store.why}"),
        Fact("leaderless_s", "nobody leads", failover_s - valid_s, "s", "of that after a cut; after a crash all of it"),
        Fact("handover_s", "hand-over", timing.promise_s + store.freed_s, "s", "after SIGTERM: the last promise, then the store"),
        Fact(
            "longest_handover_s",
            "longest hand-over",
            valid_s + store.freed_s,
            "s",
            "where a caller asked for all the promise there is",
        ),
        Fact(
            "margin_s", "overlap margin", keeps_s - valid_s, "s", "between an old leader's last possible yes and a new one's first"
        ),
        Fact(
            "drift_percent",
            "clock rates",
            100.0 * (1.0 - valid_s / keeps_s) if keeps_s > 0 else 0.0,
            "%",
            "may differ by as much before two could lead",
        ),
        *_load(period_s, instances),
    ]
    if live is not None:
        facts.append(
            Fact(
                "round_trip_s",
                "round trip",
                live.median_s,
                "s",
                f"of a renewal, just now; the slowest of {len(live.round_trips_s)} took {live.worst_s * 1000:.1f} ms",
            )
        )
    return Plan(tuple(facts), tuple(_unsafe(timing, ttl_s, period_s, valid_s, live)))


def _ticking(kind: str, live: Live | None) -> StoreTimes:
    """What the store adds; ZooKeeper, by the tick that its servers told, else by the usual one, which is said to be assumed."""
    store = STORES[kind]
    if kind != "zookeeper":
        return store
    if live is not None and live.tick_s is not None:
        return replace(store, plus_s=live.tick_s, why=store.why.replace("usually 2 s", f"of {live.tick_s:g} s"))
    return replace(store, why=f"{store.why} (assumed: the servers did not tell it)")


def _spare(valid_s: float, period_s: float) -> int:
    return max(0, int((valid_s - 1e-9) / period_s) - 1)


def _load(period_s: float, instances: int) -> list[Fact]:
    requests = (_REQUESTS_LEADER + _REQUESTS_FOLLOWER * (instances - 1)) / period_s
    return [
        Fact(
            "requests_per_s", "store load", requests, "requests/s", f"from {instances} instances, whatever the number of elections"
        )
    ]


def _unsafe(timing: Timing, ttl_s: float, period_s: float, valid_s: float, live: Live | None) -> list[str]:
    found = []
    if valid_s < 2 * period_s:
        found.append(
            f"the store granted a ttl of {ttl_s:g} s where {timing.ttl_s:g} s were asked for, which leaves {max(0.0, valid_s):.2f} "
            "s to lead, less than two renewals: raise the store's limit, or ask for a ttl that it grants"
        )
    if timing.promise_s > valid_s:
        found.append(
            f"timing.promise of {timing.promise_s:g} s is more than the {valid_s:.2f} s that a renewal is valid for: lower it"
        )
    if live is not None and live.worst_s > valid_s - 2 * period_s and valid_s >= 2 * period_s:
        found.append(
            f"a renewal took {live.worst_s:.2f} s, so that one lost message would end the term: raise timing.ttl above "
            f"{(ttl_s / valid_s) * (2 * period_s + live.worst_s):.1f} s, or bring the store nearer"
        )
    return found
