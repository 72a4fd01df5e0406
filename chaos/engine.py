"""Carries a scenario out: brings the world up, does the steps, heals whatever is left, and writes everything down."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaos import history, leftovers, stores
from chaos.bed import Bed
from chaos.containers.project import MARK
from chaos.faults import Injection
from chaos.history import Recorder
from chaos.leftovers import SOCKETS_PREFIX
from chaos.operator import Operator, operator_for
from chaos.pods import JOURNAL, PREFIX, Plan, Pod
from chaos.scenario import AwaitLeader, AwaitNobody, Heal, Hold, Inject, Scenario, Step, seconds, shifted
from chaos.subjects import PEERS
from chaos.substrates import Links
from chaos.substrates.docker import DockerLinks
from chaos.substrates.names import DOMAIN
from chaos.substrates.proxy import ProxyLinks
from chaos.workload.resource import Resource
from leaderd.config.durations import parse_duration
from testbed.cluster import Cluster
from testbed.process import WaitTimeout, wait_until

ELECTION = "jobs"
_POLL_EACH_S = 0.002
"""A herd is asked less often, so that the asking is not what this machine is busy with."""
Say = Callable[[str], None]


class Engine:
    """One run. `say` gets a line of progress for each step; `seed` shifts the faults (`scenario.shifted`)."""

    def __init__(
        self, scenario: Scenario, store: str, links: Links, folder: Path, say: Say, peer: str = "", *, seed: int = 0
    ) -> None:
        self._folder = folder
        self._sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
        self._in_use = leftovers.hold(self._sockets)
        self._peer = peer
        self._say = say
        self._recorder = Recorder(folder)
        self._ttl_s = stores.ttl_s(store, scenario.topology.ttl, links.name)
        self._scenario = shifted(scenario, seed, self._ttl_s)
        self._bound_s = stores.bound_s(store, self._ttl_s, disturbs_store(scenario))
        if peer:
            self._bound_s = 2 * PEERS[peer].failover_s
        try:
            cluster, hands = self._cluster(store, links)
        except BaseException:
            self._recorder.close()
            self._let_go()
            raise
        self._bed = Bed(store, cluster, links, self._recorder, self._ttl_s, hands)
        self._in_force: dict[str, Injection] = {}
        self._unseen: dict[str, Injection] = {}
        """Healed, and not yet seen to be over."""
        self._led_before: str | None = None
        self._healed_ns: int | None = None
        self._done = False

    def _cluster(self, store: str, links: Links) -> tuple[Cluster, Operator | None]:
        if isinstance(links, DockerLinks):
            return links.cluster(self._sockets, self._folder), None
        topology = self._scenario.topology
        disks = links.small_disks(topology.store_nodes) if topology.disk == "small" else None
        cluster = stores.make(store, topology.store_nodes, links, disks)
        return cluster, operator_for(cluster, PREFIX, ELECTION)

    def run(self) -> None:
        """From nothing to nothing. Raises `NotBiting` and what the parts raise; a wait in vain is only written down."""
        resources = [
            Resource(name, self._sockets / f"{name}.sock", name == "fenced", self._recorder) for name in ("fenced", "unfenced")
        ]
        try:
            with self._bed.cluster:
                try:
                    self._say(f"store up: {self._bed.store}, {self._bed.cluster.nodes} nodes")
                    self._start_pods()
                    for step in (*self._scenario.method, *self._scenario.rollback):
                        self._carry_out(step)
                    self._healed_ns = None
                    self._heal("")
                    self._recover()
                    self._done = True
                finally:
                    self._leave()
        finally:
            for resource in resources:
                resource.close()
            self._let_go()
            self._recorder.note("end" if self._done else "broken-off")
            self._recorder.close()

    def _let_go(self) -> None:
        """Of the folder of sockets; but it stays while it is what `clean` finds the containers by that could not be removed."""
        if (self._sockets / MARK).exists():
            self._say(f"containers of this run are left: `leaderd-chaos clean` removes them, by {self._sockets}")
        else:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._in_use.close()

    def _leave(self) -> None:
        """Heal what is in force and stop the pods, whatever happened before."""
        for name in list(self._in_force):
            try:
                self._heal(name)
            except (OSError, RuntimeError, ValueError, WaitTimeout) as error:
                self._say(f"not healed: {error}; it ends with the run")
        for pod in self._bed.pods:
            pod.probe.stop()  # all of them first: the hand-overs of the end are not part of the run
        self._recorder.note("step", text="nobody is asked any more")
        if self._bed.names is not None:
            self._bed.names.close()
        self._keep_logs()
        for pod in self._bed.pods:
            pod.stop()
            for line in _journal(pod):
                at_ns = line.pop("at_ns")
                self._recorder.note("promise", at_ns, instance=pod.name, **line)

    def _keep_logs(self) -> None:
        """The store's own words, which would go with its folder."""
        for number, host in enumerate(self._bed.store_hosts):
            there = self._folder / host
            there.mkdir(exist_ok=True)
            (there / "server.log").write_text(self._bed.cluster.log(number), encoding="utf-8")

    def _start_pods(self) -> None:
        bed, topology, workload = self._bed, self._scenario.topology, self._scenario.workload
        plan = Plan(
            *(ELECTION, f"{self._ttl_s:g}s", workload.promise, parse_duration(workload.slot)),
            peer=self._peer,
            topology=topology,
            poll_every_s=max(parse_duration(workload.poll), topology.candidates * _POLL_EACH_S),
        )
        if topology.names == "dns":
            bed.names = bed.links.name_server({host: bed.links.address(host) for host in bed.store_hosts})
        for number in range(1, topology.candidates + 1):
            name = f"c{number}"
            nodes = self._nodes_for(number)
            endpoints = [bed.cluster.endpoints[node] for node in nodes]
            if bed.names is not None:
                endpoints = [f"{bed.store_hosts[node]}.{DOMAIN}:{bed.port(bed.store_hosts[node])}" for node in nodes]
            if topology.attach == "one":
                bed.attached[name] = bed.store_hosts[nodes[0]]
            via_proxy = topology.via == "proxy" or bed.links.name == "proxy"
            pod = Pod(
                name, name, self._folder / name, self._sockets, bed.links, endpoints, bed.store, plan, self._recorder, via_proxy
            )
            bed.pods.append(pod)
            if isinstance(bed.links, ProxyLinks) and pod.proxy is not None:
                bed.links.through(name, pod.proxy)
            pod.start()
            if number == 1:
                bed.wait_leader(30.0)
        self._say(f"{bed.wait_leader(30.0).name} leads, {topology.candidates} pods")
        self._recorder.note("step", text="the run begins")

    def _nodes_for(self, number: int) -> list[int]:
        bed, topology = self._bed, self._scenario.topology
        everyone = list(range(bed.cluster.nodes))
        if topology.attach == "all":
            return everyone
        leading = bed.cluster.leader_index()
        others = [node for node in everyone if node != leading] or [leading]
        order = [leading, *others] if topology.first == "store-leader" else [*others, leading]
        return [order[(number - 1) % len(order)]]

    def _carry_out(self, step: Step) -> None:
        match step:
            case Inject():
                self._inject(step)
            case Heal():
                self._heal(step.name)
            case Hold():
                self._hold(self._seconds(step.time), nobody=step.nobody)
            case AwaitLeader():
                self._await_leader(self._seconds(step.within), step.other)
            case AwaitNobody():
                self._await_nobody(self._seconds(step.within))

    def _inject(self, step: Inject) -> None:
        leader = self._bed.leader()
        if leader is not None:
            self._led_before = leader.name
        from_ns = history.now_ns()
        injection = step.fault.inject(self._bed)
        self._in_force[step.name] = injection
        facts: dict[str, object] = {
            "name": step.name,
            "text": injection.text,
            "targets": injection.targets,
            "led": self._led_before,
            "from_ns": from_ns,
            "severs": injection.severs,
        }
        if injection.breaks_promises:
            facts["breaks_promises"] = True
        self._recorder.note("fault", **facts)  # type: ignore[arg-type]
        seen = injection.bites()
        self._recorder.note("bites", name=step.name, seen=seen)
        self._say(f"{injection.text}; verified: {seen}")

    def _heal(self, name: str) -> None:
        """Heal; and as soon as nothing is broken see that it is over, for one fault may stand in the way of another's probe."""
        for each in [name] if name else list(self._in_force):
            injection = self._in_force.pop(each, None)
            if injection is not None:
                from_ns = history.now_ns()
                injection.heal()
                self._healed_ns = history.now_ns()
                self._recorder.note("heal", self._healed_ns, name=each, text=injection.text, from_ns=from_ns)
                self._say(f"healed: {injection.text}")
                self._unseen[each] = injection
        while self._unseen and not self._in_force:
            each = next(iter(self._unseen))
            seen = self._unseen.pop(each).gone()
            self._recorder.note("gone", name=each, seen=seen)
            self._say(f"{each} is over: {seen}")

    def _hold(self, span_s: float, *, nobody: bool = False) -> None:
        self._say(f"{span_s:g} s under observation")
        if not nobody:
            time.sleep(span_s)  # the one place: a run is a stretch of real time that is looked at
            return
        try:
            leader = wait_until(self._bed.leader, span_s, "somebody leads, where nobody may")
        except WaitTimeout:
            return
        self._missed(f"{leader.name} leads, where nobody may")

    def _await_leader(self, within_s: float, other: bool) -> None:
        try:
            leader = self._bed.wait_leader(within_s, self._led_before if other else None)
        except WaitTimeout as error:
            self._missed(str(error))
        else:
            self._say(f"{leader.name} leads")

    def _await_nobody(self, within_s: float) -> None:
        try:
            wait_until(lambda: self._bed.leader() is None, within_s, "nobody leads")
        except WaitTimeout as error:
            self._missed(str(error))
        else:
            self._say("nobody leads")

    def _recover(self) -> None:
        # What has to be there soon after that counts from then, however long the probes took.
        self._recorder.note("step", self._healed_ns, text="everything is healed")
        self._await_leader(self._seconds(self._scenario.expect.recovers_within), other=False)
        self._hold(1.0)
        if not self._peer:
            self._count_sessions()

    def _count_sessions(self) -> None:
        """What ended daemons left behind has to be gone within a bound from now."""
        running = sum(pod.daemon.running for pod in self._bed.pods)
        found = [0]

        def left() -> bool:
            found[0] = self._sessions()
            return found[0] <= running

        try:
            wait_until(left, self._bound_s, "the sessions of ended daemons are gone", every=0.25)
        except WaitTimeout:
            pass  # the checker tells
        self._recorder.note("sessions", found=found[0], running=running)

    def _sessions(self) -> int:
        links = self._bed.links
        return links.sessions(f"/{PREFIX}/{ELECTION}") if isinstance(links, DockerLinks) else self._bed.operator.sessions()

    def _missed(self, what: str) -> None:
        self._recorder.note("missed", text=what)
        self._say(f"IN VAIN: {what}")

    def _seconds(self, span: str) -> float:
        return seconds(span, self._ttl_s, self._bound_s)


def disturbs_store(scenario: Scenario) -> bool:
    """Whether a fault touches the store nodes themselves, so that they may have to choose a new leader of their own."""
    roles = {
        "store-leader",
        "store-followers",
        "stores",
        "leader-node",
        "other-nodes",
        "minority",
        "majority",
        "connected-node",
        "unconnected-nodes",
    }
    roles |= {f"s{number}" for number in range(1, scenario.topology.store_nodes + 1)}
    for step in scenario.method:
        if isinstance(step, Inject):
            fault = step.fault
            ends = [getattr(fault, name, None) for name in ("source", "to", "at")]
            if all(end in roles for end in ends if end is not None):
                return True
    return False


def hosts(scenario: Scenario) -> list[str]:
    """The names of all hosts that a scenario needs."""
    topology = scenario.topology
    return [f"s{n}" for n in range(1, topology.store_nodes + 1)] + [f"c{n}" for n in range(1, topology.candidates + 1)]


def facts(scenario: Scenario, name: str, store: str, substrate: str, peer: str = "", seed: int = 0) -> dict[str, object]:
    """What the history says about the run at its beginning."""
    ttl_s = stores.ttl_s(store, scenario.topology.ttl, substrate)
    bound_s = stores.bound_s(store, ttl_s, disturbs_store(scenario))
    return {
        "scenario": name,
        "title": scenario.title,
        "store": store,
        "substrate": substrate,
        "ttl_s": ttl_s,
        "bound_s": bound_s,
        "lease_s": stores.lease_s(store, ttl_s),
        "heals_probed": True,
        "subject": peer or "leaderd",
        "seed": seed,
        "journals": not peer,
        "promise_s": parse_duration(scenario.workload.promise),
        "began_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
    }


def _journal(pod: Pod) -> list[history.Line]:
    """What a pod's daemon wrote down of its promises; a peer writes nothing."""
    return [] if pod.plan.peer else list(history.lines(pod.folder, JOURNAL))
