"""Records beside the elections in etcd: read at a quorum, seen when they change, written by compare-and-set."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

import testbed
from leaderd.election.commands import Stand, WriteRecord
from leaderd.election.events import Elected, EntryGone, RecordRefused, RecordSeen, RecordWritten, SessionGone, StandFailed
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.address import Credentials
from leaderd.stores.etcd.transactions import shelf_of
from leaderd.stores.etcd.wire import WireError
from testbed import EtcdCluster, EtcdUser
from tests.stores.etcd_support import Driver, MiniDriver, MiniEtcd

_PLACES = (f"records-{n}" for n in itertools.count())


class Watcher:
    """The records as one driver's session sees them."""

    def __init__(self, driver: Driver) -> None:
        assert driver.store._session is not None
        self.driver = driver
        self.records = driver.store._session.records

    @property
    def told(self) -> list[RecordSeen]:
        return [event for event in self.driver.events if isinstance(event, RecordSeen)]

    @property
    def now(self) -> dict[tuple[str, str], tuple[bytes | None, int]]:
        return {(event.election, event.kind): (event.value, event.version) for event in self.told}

    async def sees(self, election: str, kind: str, value: bytes | None, within_s: float = 3.0) -> None:
        await self.driver.until(lambda: self.now.get((election, kind), (None, 0))[0] == value, within_s)

    async def put(self, election: str, kind: str, value: bytes | None, version: int) -> int:
        written = await self.records.write(election, kind, value, version)
        assert isinstance(written, int), written
        return written


@pytest.fixture
async def pair(etcd: MiniEtcd) -> AsyncIterator[tuple[Watcher, Watcher]]:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        await b.open()
        yield Watcher(a), Watcher(b)


@pytest.fixture(scope="module", params=["3.4", "3.5"])
def cluster(request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    testbed.require("etcd", request.param)
    with EtcdCluster(1, request.param) as running:
        yield running


def test_a_records_key_is_beside_the_elections() -> None:
    shelf = shelf_of("a/b")
    assert shelf.key("e", "pause") == b"a/b/.leaderd/.records/e/pause"
    assert shelf.record(b"a/b/.leaderd/.records/e/pause") == ("e", "pause")
    assert shelf_of("").key("e", "pause") == b".leaderd/.records/e/pause"
    for strange in (b"a/b/e/pause", b"a/b/.leaderd/.records/e", b"a/b/.leaderd/.records//x", b"a/b/.leaderd/.records/e/\xff"):
        assert shelf.record(strange) is None


async def test_a_record_is_seen_by_all_when_it_changes(pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    version = await one.put("e", "pause", b"1", 0)
    for watcher in pair:
        await watcher.sees("e", "pause", b"1")
    assert two.now["e", "pause"][1] == version
    again = await two.put("e", "pause", b"2", version)
    assert again > version
    await one.sees("e", "pause", b"2")
    assert await one.put("e", "pause", None, again) == 0
    for watcher in pair:
        await watcher.sees("e", "pause", None)
        assert watcher.now["e", "pause"] == (None, 0)
    assert await one.put("e", "pause", b"1", 0) > again, "versions rise over a deletion"


async def test_a_write_over_another_version_changes_nothing(pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    version = await one.put("e", "pause", b"1", 0)
    assert await two.records.write("e", "pause", b"2", 0) is None
    assert await two.records.write("e", "pause", b"2", version + 1) is None
    assert await two.records.write("e", "pause", None, version - 1) is None
    assert await two.records.write("e", "pause", None, 0) is None
    assert await two.put("e", "other", None, 0) == 0
    await two.sees("e", "pause", b"1")


async def test_records_are_known_before_anything_else_is_done(etcd: MiniEtcd, pair: tuple[Watcher, Watcher]) -> None:
    for election, kind in (("e", "pause"), ("e", "history"), ("f", "pause")):
        await pair[0].put(election, kind, election.encode(), 0)
    etcd.put("p/.leaderd/.records/odd", "x")
    async with MiniDriver(etcd, "c") as c:
        await c.open()
        late = Watcher(c)
        await late.records.known()
        await late.records.known()
        assert {where: value for where, (value, _) in late.now.items()} == {
            ("e", "pause"): b"e",
            ("e", "history"): b"e",
            ("f", "pause"): b"f",
        }
        assert len(late.told) == 3


async def test_an_unanswered_write_is_in_doubt_and_not_repeated(etcd: MiniEtcd) -> None:
    def lost(_: object) -> None:
        raise WireError("UNAVAILABLE", "Socket closed", "h0:1")

    async with MiniDriver(etcd, "a", endpoints=2) as a:
        await a.open()
        one = Watcher(a)
        a.wire.after.update(txn=lost)
        problem = await one.records.write("e", "pause", b"1", 0)
        assert isinstance(problem, Problem)
        assert (problem.outcome, problem.reason) == (Outcome.UNKNOWN, Reason.STORE_UNREACHABLE)
        assert etcd.keys[b"p/.leaderd/.records/e/pause"].value == b"1", "it was applied, once"
        await one.sees("e", "pause", b"1")


async def test_what_was_compacted_away_is_read_anew(etcd: MiniEtcd, pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    version = await one.put("e", "pause", b"1", 0)
    await two.sees("e", "pause", b"1")
    for stream in list(etcd.streams):
        stream.break_off()
    await one.put("e", "pause", None, version)
    await one.put("e", "history", b"h", 0)
    etcd.compacted = etcd.revision
    await two.sees("e", "history", b"h")
    await two.sees("e", "pause", None)


async def test_nobody_stands_who_does_not_know_the_records(etcd: MiniEtcd) -> None:
    """The election may be paused, for all that is known. What is mended is met again, without a new session."""
    refuse = [True]

    def denied() -> None:
        if refuse[0] and b".records" in repr(a.wire.txns[-1]).encode():
            raise WireError("PERMISSION_DENIED", "etcdserver: permission denied", "h0:1")

    etcd.put("p/.leaderd/.records/e/pause", "1")
    async with MiniDriver(etcd, "a") as a:
        a.prepare = lambda wire: wire.before.update(txn=denied)
        await a.open()
        a.submit(Stand(1, "e"))
        failed = await a.expect(StandFailed)
        assert failed.problem.reason is Reason.PERMISSION_DENIED
        assert "p/.leaderd/.records/" in failed.problem.detail
        assert etcd.names("p/e/") == []
        one = Watcher(a)
        problem = await one.records.write("e", "pause", b"1", 0)
        assert isinstance(problem, Problem)
        assert problem.reason is Reason.PERMISSION_DENIED
        refuse[0] = False
        token = await a.lead()
        kinds = [type(event) for event in a.events]
        assert kinds.index(RecordSeen) < kinds.index(Elected)
        refuse[0] = True
        assert (await a.renew(token)).owned == {"e"}, "who leads goes on"


async def test_records_are_written_by_command(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.submit(WriteRecord(1, "e", "pause", b"1", 0))
        written = await a.expect(RecordWritten)
        assert (written.epoch, written.election, written.kind) == (1, "e", "pause")
        assert Watcher(a).now.get(("e", "pause"), (b"1", written.version)) == (b"1", written.version)
        a.submit(WriteRecord(1, "e", "pause", b"2", 0))
        assert (await a.expect(RecordRefused)).problem is None
        a.submit(WriteRecord(1, "e", "pause", None, written.version))
        assert (await a.expect(RecordWritten)).version == 0
        etcd.revoke(next(iter(etcd.leases)))
        a.renew_soon()
        await a.expect(SessionGone)
        a.submit(WriteRecord(1, "e", "pause", b"3", 0))
        refused = await a.expect(RecordRefused)
        assert refused.problem is not None
        assert refused.problem.reason is Reason.SESSION_GONE


async def test_a_refused_watch_is_the_records_first(etcd: MiniEtcd) -> None:
    """A server says that one of the watches is refused, not which one: those of the elections go on without."""
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.lead()
        one = Watcher(a)
        await a.until(lambda: one.records._watch is not None)
        for stream in list(etcd.streams):
            stream.break_off("PERMISSION_DENIED")
        await a.until(lambda: etcd.streams and etcd.streams[0].watching)
        etcd.put("p/.leaderd/.records/e/pause", "1")
        await one.sees("e", "pause", b"1")


async def test_waiting_costs_no_requests(pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    assert isinstance(two.driver, MiniDriver)
    await one.put("e", "pause", b"1", 0)
    await two.sees("e", "pause", b"1")
    before = len(two.driver.wire.calls)
    await one.put("f", "pause", b"1", 0)
    await two.sees("f", "pause", b"1")
    assert len(two.driver.wire.calls) == before


@pytest.mark.servers
async def test_on_a_real_server(cluster: EtcdCluster) -> None:
    place = next(_PLACES)
    async with Driver(cluster.url(place), "a") as a, Driver(cluster.url(place), "b") as b:
        await a.open()
        await b.open()
        await a.lead()
        one, two = Watcher(a), Watcher(b)
        version = await one.put("e", "pause", b'{"why":"\xc3\xa4"}', 0)
        for watcher in (one, two):
            await watcher.sees("e", "pause", b'{"why":"\xc3\xa4"}')
        assert two.now["e", "pause"][1] == version == cluster.get(f"{place}/.leaderd/.records/e/pause")[0].mod_revision
        assert await two.records.write("e", "pause", b"x", version - 1) is None
        assert await two.records.write("e", "pause", b"x", 0) is None
        b.store._session.watcher.move()  # type: ignore[union-attr]
        again = await one.put("e", "pause", b"2", version)
        await two.sees("e", "pause", b"2")
        for number in range(20):
            await one.put(f"e{number}", "history", bytes(65_536), 0)
        await two.sees("e19", "history", bytes(65_536))
        await one.put("e", "pause", None, again)
        await two.sees("e", "pause", None)
        inside = await asyncio.to_thread(cluster.get, f"{place}/e/", prefix=True)
        assert [key.value for key in inside] == ["a"], "`etcdctl elect` and `lock` count every key inside as a candidate"


@pytest.mark.servers
@pytest.mark.parametrize("version", ["3.4", "3.5"])
async def test_a_record_that_is_kept_from_us_is_not_taken_for_none(version: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    testbed.require("etcd", version)
    users = [EtcdUser("app", "good", "p/e/")]
    with EtcdCluster(1, version, auth=users) as strict:
        strict.ctl("role", "grant-permission", "--prefix", "app-role", "readwrite", "p/.leaderd/e/")
        file = tmp_path_factory.mktemp("auth") / "password"
        file.write_text("good")
        async with Driver(strict.url("p"), "a", credentials=Credentials("app", file)) as a:
            await a.open()
            a.submit(Stand(1, "e"))
            assert (await a.expect(StandFailed)).problem.reason is Reason.PERMISSION_DENIED
            one = Watcher(a)
            refused = await one.records.write("e", "pause", b"1", 0)
            assert isinstance(refused, Problem)
            assert refused.reason is Reason.PERMISSION_DENIED
            shelf = ("app-role", "p/.leaderd/.records/")
            await asyncio.to_thread(strict.ctl, "role", "grant-permission", "--prefix", shelf[0], "readwrite", shelf[1])
            await one.put("e", "pause", b"1", 0)
            token = await a.lead()
            await one.sees("e", "pause", b"1")
            await asyncio.to_thread(strict.ctl, "role", "revoke-permission", "--prefix", *shelf)
            assert a.store._session is not None
            a.store._session.watcher.move()
            await a.until(lambda: one.records._watch is None, 5.0)
            assert (await a.renew(token)).owned == {"e"}
            await asyncio.to_thread(strict.delete, "p/e/", prefix=True)
            await a.expect(EntryGone, within_s=4.0)
