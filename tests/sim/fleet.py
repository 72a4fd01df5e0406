"""One run: hosts, store, network and faults as a seed's plan says, then the verdict of the checkers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaos.checkers import Claim, Finding, leaderless, merged, overlaps, token_faults, without
from chaos.checkers.tokens import IN_FLIGHT_S
from leaderd.clock import jump_limit_s
from tests.sim.apps import Apps, learn
from tests.sim.clocks import HostClock
from tests.sim.evidence import Evidence
from tests.sim.faults import KINDS
from tests.sim.faults.orders import ORDERS
from tests.sim.host import Host, HostConfig, Process
from tests.sim.network import Network
from tests.sim.plan import Plan, Strike
from tests.sim.stores.cluster import Cluster, SimEntry
from tests.sim.stores.consul import ConsulDriver, ConsulServer
from tests.sim.stores.driver import SimStore
from tests.sim.stores.etcd import EtcdDriver, EtcdServer
from tests.sim.stores.local import LocalDriver, LocalServer
from tests.sim.stores.zookeeper import ZooKeeperDriver, ZooKeeperServer
from tests.sim.world import World

SERVERS: dict[str, type[Cluster]] = {"local": LocalServer, "etcd": EtcdServer, "zookeeper": ZooKeeperServer, "consul": ConsulServer}
DRIVERS: dict[str, type[SimStore]] = {
    "local": LocalDriver,
    "etcd": EtcdDriver,
    "zookeeper": ZooKeeperDriver,
    "consul": ConsulDriver,
}


@dataclass(frozen=True)
class Verdict:
    """What came of a seed."""

    plan: Plan
    findings: list[Finding]
    claims: list[Claim]
    digest: int
    steps: int
    timeline: list[str] = field(repr=False)

    @property
    def terms(self) -> int:
        """How many terms were led."""
        return len({claim[:3] for claim in self.claims})

    @property
    def led_s(self) -> float:
        """For how long somebody led, over all elections."""
        return sum(claim.end_s - claim.start_s for claim in self.claims)

    def story(self, last: int = 60) -> str:
        """For a person: what was found, what led to it, how to see it again."""
        plan = self.plan
        lines = [f"store {plan.store}, seed {plan.seed}: {len(self.findings)} finding(s); faults: {', '.join(plan.kinds)}"]
        lines += [f"  {finding.rule} at {finding.at_s:.4f}: {finding.text}" for finding in self.findings[:5]]
        lines += ["  before that:", *(f"  {line}" for line in self.timeline[-last:])]
        lines.append(f"replay: python -m tests.sim --store {plan.store} --trace {plan.seed}")
        return "\n".join(lines)


class Fleet:
    """Everything in one run, for the faults to act upon."""

    def __init__(self, plan: Plan, *, drivers: dict[str, type[SimStore]] | None = None, trace: int | None = 400) -> None:
        self.plan = plan
        self.world = World(plan.seed, trace)
        local = plan.store == "local"
        ordered = plan.store == "zookeeper"
        base_s, jitter_s = (0.0002, 0.001) if local else (0.001, 0.004)
        self.network = Network(self.world, base_s=base_s, jitter_s=jitter_s, ordered=ordered)
        self.cluster: Any = SERVERS[plan.store](self.world, self.network, plan.elections, list(plan.store_rates))
        self.cluster.tick_s, self.cluster.sync_limit = plan.tick_s, plan.sync_limit
        self.cluster.reap_after_s, self.cluster.old_version = plan.reap_after_s, plan.old_version
        self.evidence = Evidence(plan.elections)
        self._driver = (drivers or DRIVERS)[plan.store]
        self._disturbed_until_s: dict[str, float] = {}
        self._pauses: list[tuple[str, float, float]] = []
        self._born_s: dict[str, float] = {}
        self._saved: tuple[int, dict[str, int], dict[str, list[SimEntry]]] | None = None
        self._shared_clock = self._clock(0) if plan.one_clock else None
        self.hosts = [self._host(i) for i in range(plan.candidates)]
        self.apps = {host.config.name: Apps(host, self.evidence, plan.ask_every_s) for host in self.hosts}

    # ---- putting it together

    def _clock(self, i: int) -> HostClock:
        limit_s = jump_limit_s(self.plan.timing.margin_s, self.plan.timing.ttl_s)
        return HostClock(self.world, 1000.0 + 777.7 * i, self.plan.rates[i], limit_s)

    def _host(self, i: int) -> Host:
        plan = self.plan
        instance = "pod-0" if plan.twins and i < 2 else f"pod-{i}"
        config = HostConfig(f"c{i}", instance, plan.elections, plan.timing)
        host = Host(self.world, config, self._shared_clock or self._clock(i), self.evidence, self._make_store)
        host.timers_first = plan.seed % 3 == 0
        host.on_life.append(self._listen)
        return host

    def _make_store(self, process: Process) -> SimStore:
        return self._driver(process, self.cluster, self.plan.timing.ttl_s)

    def _listen(self, process: Process) -> None:
        self._born_s[process.holder] = self.world.now_s
        deliver = process.deliver

        def heard(event: Any) -> None:
            learn(self.evidence, process, event)
            deliver(event)

        process.store.connect(heard)

    def run(self) -> Verdict:
        """From the first start to the verdict."""
        world, plan = self.world, self.plan
        for host in self.hosts:
            world.after(world.rng.random() * 0.5, host.start)
            self.disturb([host], 0.5)
        for strike in plan.strikes:
            world.at(strike.at_s, KINDS[strike.kind].act, self, strike)
        for order in plan.orders:
            world.at(order.at_s, ORDERS[order.kind], self, order)
        world.after(plan.heal_s * world.rng.random() * 0.6, self.save)
        world.run(plan.end_s)
        for host in self.hosts:
            self.evidence.unable(host.config.name, world.now_s)
            self.apps[host.config.name].finish()
        return self._verdict()

    def _verdict(self) -> Verdict:
        evidence, plan = self.evidence, self.plan
        claims = merged(evidence.claims())
        findings = [
            *(Finding("crash", self.world.now_s, f"{host.config.name}: {host.crash!r}") for host in self.hosts if host.crash),
            *evidence.findings,
            *overlaps(without(claims, evidence.excused())),
            *token_faults((claim for claim in claims if not evidence.belated(claim)), evidence.restores),
            *self._led_while_paused(claims),
            *leaderless(claims, plan.elections, evidence.windows(), plan.bound_s),
        ]
        findings.sort(key=lambda finding: finding.at_s)
        return Verdict(
            plan, findings, claims, self.world.digest, self.world.steps, self.world.told() if findings or self.world.verbose else []
        )

    def _led_while_paused(self, claims: list[Claim]) -> list[Finding]:
        """Who came up during a pause has read of it before it could be elected."""
        return [
            Finding("paused", claim.start_s, f"{claim.holder} led {name}, which had been paused since {from_s:.3f}")
            for name, from_s, to_s in self._pauses
            for claim in claims
            if claim.election == name and from_s < claim.start_s < to_s and self._born_s.get(claim.holder, 0.0) > from_s
        ]

    # ---- for the faults

    def note(self, strike: Strike, *whom: object) -> None:
        """Into the timeline."""
        self.world.note("FAULT {} for {:.3f} s: {}", strike.kind, strike.for_s, whom)

    def election(self, strike: Strike) -> str:
        """Which election a strike is about."""
        return self.plan.elections[int(strike.dose * 1000) % len(self.plan.elections)]

    def host(self, strike: Strike) -> Host:
        """Whom a strike hits."""
        if strike.aimed:
            leader = self.evidence.leader_at(self.election(strike), self.world.now_s)
            for host in self.hosts:
                if host.config.name == leader:
                    return host
        return self.world.rng.choice(self.hosts)

    def holds(self, host: Host, sid: int) -> bool:
        """Whether this session is the host's."""
        return host.process is not None and host.process.store.sid == sid

    def disturb(self, hosts: list[Host], for_s: float, *, everybody: bool = False) -> None:
        """These hosts cannot be expected to lead for a while."""
        for host in self.hosts if everybody else hosts:
            name, now_s = host.config.name, self.world.now_s
            self.evidence.unable(name, now_s)
            until_s = max(self._disturbed_until_s.get(name, 0.0), now_s + for_s)
            self._disturbed_until_s[name] = until_s
            self.world.at(until_s, self._recover, host, until_s)

    def block(self, host: Host, source: str, target: str, for_s: float, keep: float) -> None:
        """Block a link of a host. What is kept can surprise everybody when it arrives: a late renewal of a dead session."""
        self.network.block((source, target), self.world.now_s + for_s, keep)
        self.disturb([host], for_s + (2.0 if keep else 0.0), everybody=keep > 0.0)

    def disturb_store(self, for_s: float) -> None:
        """Nobody can be expected to lead for a while."""
        self.disturb(self.hosts, for_s)

    def _recover(self, host: Host, until_s: float) -> None:
        if self._disturbed_until_s[host.config.name] == until_s:
            self.evidence.able(host.config.name, self.world.now_s)

    def start_again(self, host: Host, after_s: float) -> None:
        """Start a drained daemon when it has exited."""

        def again() -> None:
            if host.process is not None and host.process.draining:
                self.disturb([host], 0.5)
                self.world.after(0.5, again)
            else:
                host.start()

        self.world.after(after_s, again)

    def pause_machine(self, host: Host, for_s: float) -> None:
        """Stop a virtual machine."""
        if not host.clock.stopped:
            self.apps[host.config.name].paused()
            host.pause(for_s)

    # ---- operators

    def paused(self, election: str, from_s: float, to_s: float) -> None:
        """An election is paused for all that time, and nobody who comes up meanwhile may lead it."""
        self._pauses.append((election, from_s, to_s))

    def end_session(self, strike: Strike, *, excused: bool) -> None:
        """End the session of whoever leads, or of anybody."""
        election = self.election(strike)
        entries = self.cluster.entries[election]
        sids = [entries[0].sid] if strike.aimed and entries else list(self.cluster.sessions)
        if not sids:
            return
        session = self.cluster.live(self.world.rng.choice(sids))
        if session is None:
            return
        self.note(strike, session.name)
        self.disturb_store(0.0)
        if excused:
            for name, held in self.cluster.entries.items():
                for entry in held:
                    if entry.sid == session.sid:
                        self._excuse(name, entry.token)
        self.cluster.end(session)

    def take_away(self, election: str, entries: list[SimEntry]) -> None:
        """Delete entries by hand."""
        self.disturb_store(0.0)
        for entry in entries:
            self._excuse(election, entry.token)
            self.cluster.remove(election, entry)
        if self.plan.store == "consul":
            self.cluster.delete_key(election)

    def _excuse(self, election: str, token: int) -> None:
        """Promises that were outstanding are broken, by hand; but not for longer than the lease could have lasted."""
        for_s = self.plan.timing.ttl_s * 1.2 + 0.1
        first = next((entry.token for entry in self.cluster.entries[election]), None)
        # (The next in line may have raised the mark to its token, too: not being first, it has claimed nothing, and whoever is
        # first may have claimed before that.)
        proven = token == first and self.cluster.marks[election] >= token
        # Who is ready begins to lead by what it is told, which may be as old as half a ttl.
        news_s = IN_FLIGHT_S + (self.plan.timing.ttl_s * 0.55 if self.plan.store in ("etcd", "zookeeper") else 0.0)
        self.evidence.excuse(election, token, self.world.now_s, for_s, proven=proven, news_s=news_s)

    def save(self) -> None:
        """Take a snapshot of the store."""
        cluster = self.cluster
        entries = {name: [SimEntry(e.sid, e.name, e.token, e.order) for e in held] for name, held in cluster.entries.items()}
        self._saved = cluster.revision, dict(cluster.marks), entries

    def restore(self) -> None:
        """Go back to the snapshot: sessions that are gone stay gone."""
        if self._saved is None:
            return
        cluster = self.cluster
        revision, marks, saved = self._saved
        # Tokens below the mark are refused until the store's counter has passed it: each attempt raises it by two or so, and a lone
        # candidate makes one in at most 1.5 s (`Backoff`).
        self.disturb_store(max(8.0, 0.75 * (cluster.revision - revision)))
        for election in self.plan.elections:
            for entry in list(cluster.entries[election]):
                self._excuse(election, entry.token)
                cluster.remove(election, entry)
            cluster.marks[election] = marks[election]
            back = [SimEntry(e.sid, e.name, e.token, e.order) for e in saved[election] if cluster.live(e.sid)]
            cluster.entries[election] += back
            for entry in back:
                # It exists a second time: a delete of its first life, late, may hit it. Nothing in the store tells them apart.
                self.evidence.excuse(election, entry.token, self.world.now_s, 1e9, proven=True)
            self.evidence.restores[election].append((self.world.now_s, marks[election]))
        cluster.revision = revision
        self.world.note("store: restored, revision {}", revision)


def simulate(plan: Plan, **options: Any) -> Verdict:
    """Run a plan. The collector is off meanwhile: a run is short, and its garbage goes at once."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return Fleet(plan, **options).run()
    finally:
        if was_on:
            gc.enable()


Patch = Callable[[], None]
