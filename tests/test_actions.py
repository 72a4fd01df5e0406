"""Operator actions end to end: whole candidates over each real store, in one process, with the real clock."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from leaderd.actions import ActionRefused, Actions, Refusal
from leaderd.board import Board
from leaderd.clock import BootClock
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import DrainRequested, Started, TimeReached
from leaderd.election.problems import Reason
from leaderd.election.records import RecordKind
from leaderd.election.state import ElectionView, State
from leaderd.election.timing import Timing
from leaderd.journal import Journal
from leaderd.observing import Afterwards
from leaderd.recorder import Recorder
from leaderd.runner import Runner
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.base import Identity
from leaderd.stores.factory import make_store
from leaderd.timer import DeadlineTimer

TIMINGS = {
    "local": Timing(ttl_s=3.0, renew_every_s=0.5, promise_s=0.2, margin_s=0.2),
    "etcd": Timing(ttl_s=4.0, renew_every_s=0.8, promise_s=0.2, margin_s=0.2),
    "zookeeper": Timing(ttl_s=4.0, renew_every_s=0.5, promise_s=0.2, margin_s=0.2),
    "consul": Timing(ttl_s=10.0, renew_every_s=2.0, promise_s=0.2, margin_s=0.2),
}
PATIENCE_S = {"local": 6.0, "etcd": 15.0, "zookeeper": 15.0, "consul": 45.0}
_corner = itertools.count(1)


class Candidate:
    """Everything of a daemon but its listeners."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        address = parse_address(url)
        self.patience_s = PATIENCE_S[address.kind]
        timing = TIMINGS[address.kind]
        clock = BootClock(1.0)
        self.clock = clock
        self.crashes: list[BaseException] = []
        self.store = make_store(address, Identity(name, name * 2), timing, Credentials(), Tls(), clock.now_s)
        self.core = Core(CoreConfig(name, ("jobs",), timing, self.store.rule, hash(name)))
        self.board = Board(self.core.snapshot(clock.now_s()), self.core.ledgers, timing.promise_s)
        self.timer = DeadlineTimer(clock, lambda: self.runner.deliver(TimeReached()), 1.0)
        afterwards = Afterwards(clock, self.crashes.append)
        self.journal = Journal(afterwards.wall_s)
        recorder = Recorder(lambda event: self.runner.deliver(event), afterwards.wall_s, self._later)
        afterwards.observers = (self.journal, recorder)
        self.runner = Runner(self.core, self.store, self.board, clock, self.timer.arm, self.crashes.append, (afterwards,))
        self.actions = Actions(self.runner.deliver, self.board, clock, self.journal, shows_queue=address.kind != "consul")
        self.ended = False

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: None if self.ended else call())

    async def start(self) -> None:
        await self.store.start(self.runner.deliver)
        self.runner.deliver(Started())

    @property
    def view(self) -> ElectionView:
        return self.board.snapshot.elections["jobs"]

    @property
    def state(self) -> State:
        return self.view.state_at(self.clock.now_s())

    @property
    def leads(self) -> bool:
        return self.board.answer("jobs", self.clock.instant()).leader

    async def until(self, condition: Callable[[], object], what: str = "it") -> None:
        deadline_s = self.clock.now_s() + self.patience_s
        changed = asyncio.Event()
        unsubscribe = self.board.subscribe(changed.set)
        while not condition():
            assert self.clock.now_s() < deadline_s, f"{self.name}: {what} did not come; {self.view}"
            changed.clear()
            with suppress(TimeoutError):  # another candidate may change what is waited for, too
                await asyncio.wait_for(changed.wait(), 0.01)
        unsubscribe()

    async def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.timer.stop()
            await self.store.aclose()
        assert not self.crashes, self.crashes


class Fleet:
    """Candidates that come and go."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.races = url.startswith("consul")
        self.candidates: list[Candidate] = []

    async def add(self, name: str) -> Candidate:
        candidate = Candidate(name, self.url)
        self.candidates.append(candidate)
        await candidate.start()
        await candidate.until(lambda: candidate.leads or candidate.state is not State.STARTING, "a start")
        await candidate.until(lambda: candidate.leads or any(c.own for c in candidate.view.contenders), "a place in the queue")
        await candidate.until(lambda: candidate.view.led or candidate.view.pause is not None, "somebody who leads")
        return candidate


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], str]]:
    """Where a store of a kind is to be found: one server each, started when first needed."""
    running: dict[str, Any] = {}

    def url(kind: str) -> str:
        import testbed

        version = {"etcd": "3.5", "zookeeper": "3.9", "consul": "1.8"}[kind]
        testbed.require(kind, version)
        if kind not in running:
            from testbed.consul import ConsulCluster
            from testbed.etcd import EtcdCluster
            from testbed.zookeeper import ZooKeeperCluster

            make = {"etcd": EtcdCluster, "zookeeper": ZooKeeperCluster, "consul": ConsulCluster}[kind]
            running[kind] = make(1, version).start()
        return str(running[kind].url(f"actions-{next(_corner)}"))

    yield url
    for cluster in running.values():
        cluster.stop()


@pytest.fixture(params=["local", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("etcd", "zookeeper", "consul"))])
async def fleet(request: Any, tmp_path: Path, servers: Callable[[str], str]) -> AsyncIterator[Fleet]:
    url = f"local://{tmp_path}/store" if request.param == "local" else await asyncio.to_thread(servers, request.param)
    found = Fleet(url)
    yield found
    for candidate in found.candidates:
        await candidate.end()


async def refused(kind: Refusal, work: object) -> str:
    with pytest.raises(ActionRefused) as caught:
        await work  # type: ignore[misc]
    assert caught.value.kind is kind
    return str(caught.value)


async def test_resigning_frees_the_store_when_the_promises_have_lapsed(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    token = a.view.term.token
    assert a.leads
    done = await a.actions.resign("jobs", cooldown_s=30.0, if_token=token)
    assert (done.token, done.released) == (token, True)
    assert done.took_s >= 0.18, "a yes had been given just before"
    await b.until(lambda: b.leads)
    assert a.state is State.FOLLOWER
    assert a.view.reason is Reason.RESIGNED


async def test_what_resign_refuses(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    await refused(Refusal.UNKNOWN_ELECTION, a.actions.resign("other"))
    await refused(Refusal.TOKEN_MISMATCH, a.actions.resign("jobs", if_token=a.view.term.token + 1))
    await b.until(lambda: b.view.leader == "a")
    assert await refused(Refusal.NOT_LEADER, b.actions.resign("jobs")) == "b does not lead jobs; a does"
    assert a.leads
    a.runner.deliver(DrainRequested())
    await refused(Refusal.CONFLICT, a.actions.resign("jobs"))


async def test_a_cordoned_candidate_stays_out_until_it_is_let_in(fleet: Fleet) -> None:
    a = await fleet.add("a")
    assert await a.actions.set_candidacy("jobs", False)
    assert not await a.actions.set_candidacy("jobs", False), "nothing to change"
    await a.until(lambda: a.view.phase == "out")
    assert a.view.reason is Reason.CORDONED
    assert await a.actions.set_candidacy("jobs", True)
    await a.until(lambda: a.leads)


async def test_a_paused_election_is_led_by_nobody_until_it_is_resumed(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    asked = await b.actions.pause("jobs", reason="migration", by="eva")
    for candidate in (a, b):
        await candidate.until(lambda candidate=candidate: candidate.state is State.PAUSED, "the pause")
        assert candidate.view.pause == asked
        assert not candidate.leads
        assert candidate.view.reason is Reason.PAUSED
        assert candidate.view.detail == "by eva: migration"
    await a.until(lambda: a.view.phase == b.view.phase == "out")
    assert await a.actions.resume("jobs") == asked
    assert await a.actions.resume("jobs") is None
    await a.until(lambda: a.leads or b.leads)


async def test_a_pause_outlives_every_daemon(fleet: Fleet) -> None:
    a = await fleet.add("a")
    await a.actions.pause("jobs", reason="for good")
    await a.until(lambda: a.state is State.PAUSED)
    await a.end()
    b = Candidate("b", fleet.url)
    fleet.candidates.append(b)
    led: list[bool] = []
    b.board.subscribe(lambda: led.append(b.view.term is not None))
    await b.start()
    await b.until(lambda: b.state is State.PAUSED)
    assert not any(led)
    await b.actions.resume("jobs")
    await b.until(lambda: b.leads)


async def test_a_pause_ends_by_itself_and_is_cleared_away(fleet: Fleet) -> None:
    a = await fleet.add("a")
    await a.actions.pause("jobs", expires_in_s=0.4)
    await a.until(lambda: a.state is State.PAUSED)
    await a.until(lambda: a.leads)
    await a.until(lambda: a.view.records[RecordKind.PAUSE].value is None, "an empty record")
    assert a.view.pause is None


async def test_a_pause_may_be_changed_and_must_make_sense(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    await asyncio.gather(a.actions.pause("jobs", reason="one"), b.actions.pause("jobs", reason="two"))
    await a.until(lambda: a.view.pause is not None and a.view.pause == b.view.pause)
    await refused(Refusal.INVALID, a.actions.pause("jobs", reason="x" * 501))
    await refused(Refusal.INVALID, a.actions.pause("jobs", expires_in_s=0.0))
    assert await refused(Refusal.INVALID, a.actions.pause("jobs", reason="a\x1b[2J")) == "the reason is no text on one line"


async def test_a_transfer_passes_over_those_before_the_target(fleet: Fleet) -> None:
    a, b, c = await fleet.add("a"), await fleet.add("b"), await fleet.add("c")
    await a.until(lambda: fleet.races or len(a.view.contenders) == 3, "the whole queue in sight")
    token = a.view.term.token
    done = await a.actions.transfer("jobs", "c", timeout_s=3.0, if_token=token)
    assert (done.confirmed, done.to, done.token) == (True, "c", token)
    assert c.leads
    assert done.new_token == c.view.term.token > token
    assert 0.0 < done.leaderless_s < 1.0
    for candidate in (a, b):
        await candidate.until(lambda candidate=candidate: candidate.view.phase == "queued", "a new place in the queue")
    back = await c.actions.transfer("jobs", "a", timeout_s=3.0)
    assert back.confirmed
    assert a.leads


async def test_what_a_transfer_refuses(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    await a.until(lambda: fleet.races or len(a.view.contenders) == 2)
    await refused(Refusal.INVALID, a.actions.transfer("jobs", "b\n", timeout_s=1.0))
    message = await refused(Refusal.NO_SUCH_CANDIDATE, a.actions.transfer("jobs", "z", timeout_s=1.0))
    silent = "'z' did not answer: it does not stand in jobs"
    assert message == (silent if fleet.races else "'z' does not stand in jobs; in line: b")
    await refused(Refusal.CONFLICT, a.actions.transfer("jobs", "a", timeout_s=1.0))
    await refused(Refusal.NOT_LEADER, b.actions.transfer("jobs", "a", timeout_s=1.0))
    await refused(Refusal.TOKEN_MISMATCH, a.actions.transfer("jobs", "b", timeout_s=1.0, if_token=1 << 40))
    assert a.leads


async def test_who_does_not_step_aside_keeps_the_leader_in_place(fleet: Fleet) -> None:
    if fleet.races:
        pytest.skip("Consul does not show who waits")
    a, b, c = await fleet.add("a"), await fleet.add("b"), await fleet.add("c")
    await a.until(lambda: len(a.view.contenders) == 3)
    b.core.elections["jobs"].obey = lambda *_: []  # a candidate of a foreign kind
    message = await refused(Refusal.CONFLICT, a.actions.transfer("jobs", "c", timeout_s=0.8))
    assert message == "c is behind b, who did not step aside; leadership stays here"
    assert a.leads
    await c.until(lambda: c.view.phase == "queued")
    await c.until(lambda: c.view.transfer is None, "the end of the transfer")


async def test_the_history_says_who_led_and_why_it_ended(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    first = a.view.term.token
    await a.actions.resign("jobs", cooldown_s=30.0)
    await b.until(lambda: b.leads)
    await b.until(lambda: len(b.actions.history("jobs")) == 2, "both terms")
    newest, oldest = b.actions.history("jobs")
    assert (oldest.token, oldest.leader, oldest.reason) == (first, "a", "resigned")
    assert oldest.started_at_s < oldest.ended_at_s <= newest.started_at_s + 0.5
    assert (newest.token, newest.leader, newest.ended_at_s, newest.reason) == (b.view.term.token, "b", None, None)
    await a.until(lambda: a.actions.history("jobs") == b.actions.history("jobs"), "the same history")


async def test_the_history_outlives_who_made_it(fleet: Fleet) -> None:
    a = await fleet.add("a")
    await a.until(lambda: len(a.actions.history("jobs")) == 1, "its term")
    a.runner.deliver(DrainRequested())
    await a.until(lambda: a.board.snapshot.finished)
    await a.end()
    b = await fleet.add("b")
    await b.until(lambda: len(b.actions.history("jobs")) == 2)
    assert [(term.leader, term.reason) for term in b.actions.history("jobs")] == [("b", None), ("a", "draining")]


async def test_a_leader_that_died_is_closed_by_its_successor(fleet: Fleet) -> None:
    a, b = await fleet.add("a"), await fleet.add("b")
    await a.until(lambda: len(a.actions.history("jobs")) == 1, "its term")
    await a.end()  # without a word to the store
    await b.until(lambda: b.leads)
    await b.until(lambda: len(b.actions.history("jobs")) == 2)
    newest, oldest = b.actions.history("jobs")
    assert (oldest.leader, oldest.reason) == ("a", "ended_without_saying")
    assert oldest.ended_at_s == newest.started_at_s
