"""The real core and runner over each store: what an app would see."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from leaderd.board import Board
from leaderd.clock import BootClock
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import DrainRequested, ResignRequested, Started, TimeReached
from leaderd.election.timing import RULES, Timing
from leaderd.runner import Runner
from leaderd.stores.address import Credentials, Tls
from leaderd.stores.base import Identity, Store
from leaderd.stores.factory import make_store
from tests.contract.harness import Bench
from tests.contract.wires import Wire

pytestmark = pytest.mark.real("tests/sim runs the real core over the simulated stores")


class Daemon:
    """Core, runner, board and a real store: a daemon without surfaces."""

    def __init__(self, bench: Bench, name: str, elections: tuple[str, ...], wire: Wire | None) -> None:
        self.bench, self.name = bench, name
        self.clock = BootClock(jump_limit_s=3600.0)
        rule = RULES[bench.kind]
        # Consul keeps 2.5 s back for its leader's step-down: a ttl must exceed that.
        ttl_s = {"local": 1.0, "etcd": 3.0, "zookeeper": 3.0, "consul": 5.0}[bench.kind]
        self.timing = Timing(ttl_s=ttl_s, renew_every_s=ttl_s / 5, promise_s=0.05, margin_s=0.1)
        self.core = Core(CoreConfig(name, elections, self.timing, rule, secrets.randbelow(2**31)))
        self.board = Board(self.core.snapshot(self.clock.now_s()), self.core.ledgers, self.timing.promise_s)
        self.board.subscribe(bench.changed)
        address = wire.address(bench.address) if wire is not None else bench.address
        identity = Identity(name, secrets.token_hex(8))
        self.store: Store = make_store(address, identity, self.timing, Credentials(), Tls(), self.clock.now_s)
        self.crashes: list[BaseException] = []
        self.runner = Runner(self.core, self.store, self.board, self.clock, self._arm, self.crashes.append)
        self.store.on_crash = self.crashes.append
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at_s != float("inf"):
            delay_s = max(0.0, at_s - self.clock.now_s())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.runner.deliver, TimeReached())

    async def start(self) -> None:
        await self.store.start(self.runner.deliver)
        self.runner.deliver(Started())

    def leads(self, election: str = "e") -> bool:
        """What `/is-leader` would say now."""
        return self.board.answer(election, self.clock.instant()).leader

    def token(self, election: str = "e") -> int:
        answer = self.board.answer(election, self.clock.instant())
        assert answer.token is not None
        return answer.token

    async def drain(self) -> None:
        """SIGTERM."""
        self.runner.deliver(DrainRequested())
        await self.bench.until(lambda: self.core.finished, 10.0, f"{self.name}: the end of its drain")
        await self.end()

    async def end(self) -> None:
        """SIGKILL, unless drained before."""
        if self._ended:
            return
        self._ended = True
        self._arm(float("inf"))
        self._arm = lambda at_s: None  # type: ignore[method-assign]
        await self.store.aclose()
        assert not self.crashes, self.crashes


async def daemon(bench: Bench, name: str, *elections: str, wire: Wire | None = None) -> Daemon:
    made = Daemon(bench, name, elections or ("e",), wire)
    bench.candidates.append(made)
    await made.start()
    return made


async def leader_of(several: list[Daemon], election: str = "e", within_s: float = 10.0) -> Daemon:
    """Wait for a leader, and see that it is the only one."""
    bench = several[0].bench
    leader: Daemon = await bench.until(
        lambda: next((d for d in several if d.leads(election)), None), within_s, f"a leader of {election}"
    )
    assert [d.name for d in several if d.leads(election)] == [leader.name]
    return leader


async def test_core_one_of_three_leads(bench: Bench) -> None:
    several = [await daemon(bench, f"d{n}") for n in range(3)]
    await leader_of(several)
    await bench.pause(several[0].timing.ttl_s)
    assert sum(d.leads() for d in several) == 1


async def test_core_drains_and_the_next_leads_soon(bench: Bench) -> None:
    several = [await daemon(bench, f"d{n}") for n in range(3)]
    for _ in range(2):
        leader = await leader_of(several)
        await bench.until(lambda: sum(d.board.snapshot.connected for d in several) == len(several), 5.0, "sessions")
        token = leader.token()
        several.remove(leader)
        await bench.pause(0.5)
        await leader.drain()
        heir = await leader_of(several, within_s=3.0)
        assert heir.token() > token


async def test_core_resigns_and_stands_again(bench: Bench) -> None:
    several = [await daemon(bench, f"d{n}") for n in range(2)]
    leader = await leader_of(several)
    token = leader.token()
    leader.runner.deliver(ResignRequested("e", cooldown_s=0.5))
    assert not leader.leads()
    heir: Daemon = await bench.until(lambda: next((d for d in several if d.leads()), None), 5.0, "the heir")
    assert heir.token() > token


async def test_core_a_crash_is_survived_without_overlap(bench: Bench) -> None:
    several = [await daemon(bench, f"d{n}") for n in range(2)]
    leader = await leader_of(several)
    token = leader.token()
    answer = leader.board.answer("e", leader.clock.instant())
    assert answer.lease_until_s is not None
    await leader.end()
    several.remove(leader)
    heir = await leader_of(several, within_s=16.0)
    assert heir.token() > token
    assert heir.clock.now_s() > answer.lease_until_s, "a new leader before the old one's deadline"


async def test_core_survives_an_outage_of_the_store(bench: Bench) -> None:
    wire = await bench.wire()
    one = await daemon(bench, "d1", wire=wire)
    await leader_of([one])
    token = one.token()
    wire.silence()
    await bench.until(lambda: not one.leads(), one.timing.ttl_s + 0.5, "the end of its leadership")
    wire.heal()
    await leader_of([one], within_s=20.0)
    assert one.token() >= token


async def test_core_waits_for_a_store_that_comes_later(bench: Bench) -> None:
    bench.needs_network()
    wire = await bench.wire()
    wire.refuse()
    one = await daemon(bench, "d1", wire=wire)
    await bench.pause(1.5)
    assert not one.leads()
    wire.heal()
    await leader_of([one], within_s=20.0)


async def test_core_steps_down_within_a_second_of_revocation(bench: Bench) -> None:
    one = await daemon(bench, "d1")
    await leader_of([one])
    token = one.token()
    await bench.pause(0.3)
    await bench.operator.revoke_session("e", "d1")
    revoked_s = bench.now_s()
    await bench.until(lambda: not one.leads() or one.token() > token, 3.0, "the end of its term", poll_s=0.01)
    assert bench.now_s() - revoked_s <= 1.0
    await bench.until(lambda: one.leads() and one.token() > token, 20.0, "another term")


async def test_core_twins_never_lead_both(bench: Bench) -> None:
    several = [await daemon(bench, "twin") for _ in range(2)]
    await bench.until(lambda: any(d.leads() for d in several), 10.0, "a leader")
    for _ in range(20):
        assert sum(d.leads() for d in several) <= 1
        await bench.pause(0.05)


async def test_core_three_elections_and_three_daemons(bench: Bench) -> None:
    elections = ("a", "b", "c")
    several = [await daemon(bench, f"d{n}", *elections) for n in range(3)]
    for election in elections:
        await leader_of(several, election)
    await several[0].drain()
    for election in elections:
        await leader_of(several[1:], election, within_s=16.0)
