"""The same cases over the simulated stores: what `tests/sim` models is held to what the real servers do.

Time is virtual: waiting advances the simulated world by a millisecond at a time, and costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

from leaderd.stores.address import StoreAddress
from leaderd.stores.base import Store
from tests.contract.harness import PROFILES, Bench, Candidate
from tests.sim.clocks import HostClock
from tests.sim.evidence import Evidence
from tests.sim.fleet import DRIVERS, SERVERS
from tests.sim.host import Host, HostConfig
from tests.sim.network import Network
from tests.sim.stores.cluster import Cluster, SimEntry
from tests.sim.world import World

STEP_S = 0.001
FOR_EVER_S = 1e6
_ANY = "any"


class SimWire:
    """The links between one candidate's host and the store's nodes."""

    def __init__(self, bench: SimBench) -> None:
        self._bench = bench
        self._host = ""
        self._faults: list[Callable[[], None]] = []

    async def start(self) -> None: ...

    def address(self, direct: StoreAddress) -> StoreAddress:
        return direct

    def attach(self, host: str) -> None:
        """Be the wire of this host; what was done to the wire before counts."""
        self._host = host
        for fault in self._faults:
            fault()

    def _do(self, fault: Callable[[], None]) -> None:
        self._faults.append(fault)
        if self._host:
            fault()

    def _block_requests(self) -> None:
        for node in self._bench.cluster.nodes:
            self._bench.network.block((self._host, node.name), FOR_EVER_S, 0.0)

    def _block_replies(self) -> None:
        for node in self._bench.cluster.nodes:
            self._bench.network.block((node.name, self._host), FOR_EVER_S, 0.0)

    def silence(self) -> None:
        self._do(self._block_requests)
        self._do(self._block_replies)

    refuse = silence

    def swallow(self) -> None:
        self._do(self._block_replies)

    def swallow_from(self, needle: bytes) -> None:
        """From the request on that takes the lock, where that is not the first one."""
        cluster = self._bench.cluster
        if not hasattr(cluster, "op_lock"):
            self.swallow()
            return
        original = cluster.op_lock

        def lock(*args: Any) -> None:
            cluster.op_lock = original
            self.swallow()
            original(*args)

        cluster.op_lock = lock

    def reset(self) -> None: ...

    def heal(self) -> None:
        self._faults.clear()
        self._bench.network.heal()

    async def aclose(self) -> None: ...


class SimOperator:
    """Whoever may change the simulated store's state directly."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def _entry(self, election: str, instance: str) -> SimEntry:
        return next(entry for entry in self._cluster.entries[election] if entry.name == instance)

    async def instances(self, election: str) -> list[str]:
        return [entry.name for entry in self._cluster.entries[election]]

    async def revoke_session(self, election: str, instance: str) -> None:
        session = self._cluster.live(self._entry(election, instance).sid)
        assert session is not None
        self._cluster.end(session)

    async def delete_entry(self, election: str, instance: str) -> None:
        self._cluster.remove(election, self._entry(election, instance))

    async def overwrite_entry(self, election: str, instance: str) -> None:
        entry = self._entry(election, instance)
        self._cluster.remove(election, entry)
        self._cluster.entries[election].append(SimEntry(-1, "somebody else", self._cluster.next_revision(), entry.order))

    async def delete_election(self, election: str) -> None:
        for entry in list(self._cluster.entries[election]):
            self._cluster.remove(election, entry)

    async def plant_foreign(self, election: str) -> None:
        raise NotImplementedError

    async def remove_foreign(self, election: str) -> None:
        raise NotImplementedError

    async def session_ids(self) -> set[str]:
        return {str(sid) for sid in self._cluster.sessions}


class SimBench(Bench):
    """A world of its own per case."""

    def __init__(self, variant: str, seed: int = 1) -> None:
        kind = variant.removeprefix("sim-")
        self.world = World(seed)
        self.network = Network(self.world, base_s=0.0005, jitter_s=0.0005, ordered=True)
        count = SERVERS[kind].node_count
        self.cluster: Any = SERVERS[kind](self.world, self.network, (_ANY,), [1.0] * count)
        for name, value in vars(self.cluster).items():
            if isinstance(value, dict) and set(value) == {_ANY}:
                # A simulated store knows its elections beforehand; a case makes them up.
                setattr(self.cluster, name, defaultdict(partial(copy, value[_ANY])))
        super().__init__(variant, StoreAddress(kind, (("sim", 1),), "", False), SimOperator(self.cluster), lambda: SimWire(self))
        self.profile = replace(PROFILES[kind], network=True, queued_first=kind != "consul")
        self._clocks = HostClock(self.world, 1000.0, 1.0, 3600.0)
        self._random = Random(seed)

    def now_s(self) -> float:
        return self._clocks.now_s()

    async def until(self, condition: Callable[[], Any], within_s: float, what: str = "the condition", poll_s: float = 0.05) -> Any:
        deadline_s = self.now_s() + within_s
        while not (result := condition()):
            if self.now_s() >= deadline_s:
                raise AssertionError(
                    f"{self.variant}: {what} did not come within {within_s:g} s; " + "\n".join(self.world.told()[-20:])
                )
            await self.pause(STEP_S)
        return result

    async def pause(self, for_s: float) -> None:
        until_s = self.now_s() + for_s
        while self.now_s() < until_s:
            self.world.run(self.world.now_s + STEP_S)
            await asyncio.sleep(0)  # other tasks of the case go on too

    def repeat(self, step: Callable[[], None]) -> Callable[[], None]:
        going = True

        def again() -> None:
            if going:
                step()
                self.world.after(0.02, again)

        def stop() -> None:
            nonlocal going
            going = False

        self.world.after(0.0, again)
        return stop

    def make_store(self, candidate: Candidate) -> Store:
        config = HostConfig(f"h{len(self.candidates)}", candidate.name, (), candidate.timing)
        host = Host(self.world, config, self._clocks, Evidence(()), lambda process: None)  # type: ignore[arg-type, return-value]
        process: Any = SimpleNamespace(host=host, identity=candidate.identity, holder=config.name, alive=True)
        if isinstance(candidate.wire, SimWire):
            candidate.wire.attach(config.name)
        store: Any = DRIVERS[self.kind](process, self.cluster, candidate.ttl_s)
        return store  # type: ignore[no-any-return]
