"""Records beside the elections on real Consul: read at a quorum, seen when they change, written by compare-and-set."""

from __future__ import annotations

import asyncio

import pytest

from leaderd.election.commands import Stand, WriteRecord
from leaderd.election.events import Elected, RecordRefused, RecordSeen, RecordWritten, StandFailed
from leaderd.election.problems import Problem, Reason
from leaderd.stores.address import Credentials
from leaderd.stores.consul.agents import failed
from leaderd.stores.consul.records import Records
from testbed import ConsulCluster, require
from tests.contract.candidate import Candidate
from tests.stores.consul_support import POLICY, Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]

WITHOUT_RECORDS = "\n".join(line for line in POLICY.splitlines() if ".records" not in line)


class Watcher:
    """One candidate's records, and what it was told of them."""

    def __init__(self, place: Place, one: Candidate) -> None:
        self.place = place
        self.one = one
        self.records: Records = one.store._epoch.records  # type: ignore[attr-defined]

    @property
    def told(self) -> list[RecordSeen]:
        return [event for _, event in self.one.history if isinstance(event, RecordSeen)]

    @property
    def now(self) -> dict[tuple[str, str], tuple[bytes | None, int]]:
        return {(event.election, event.kind): (event.value, event.version) for event in self.told}

    async def sees(self, election: str, kind: str, value: bytes | None, within_s: float = 1.0) -> None:
        await self.place.until(lambda: self.now.get((election, kind), (None, 0))[0] == value, within_s, f"{value!r}")


@pytest.fixture
async def pair(place: Place) -> tuple[Watcher, Watcher]:
    """Two candidates that watch."""
    return Watcher(place, await place.candidate(ttl_s=6.0)), Watcher(place, await place.candidate(ttl_s=6.0))


async def test_a_record_is_seen_by_all_when_it_changes(pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    version = await one.records.write("e", "pause", b'{"why":"\xc3\xa4"}', 0)
    assert isinstance(version, int)
    for watcher in pair:
        await watcher.sees("e", "pause", b'{"why":"\xc3\xa4"}')
    assert two.now["e", "pause"][1] == version
    again = await two.records.write("e", "pause", b"{}", version)
    assert isinstance(again, int)
    assert again > version
    await one.sees("e", "pause", b"{}")
    assert await one.records.write("e", "pause", None, again) == 0
    for watcher in pair:
        await watcher.sees("e", "pause", None)


async def test_a_write_over_another_version_changes_nothing(pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    version = await one.records.write("e", "pause", b"1", 0)
    assert isinstance(version, int)
    assert await two.records.write("e", "pause", b"2", 0) is None
    assert await two.records.write("e", "pause", b"2", version + 1) is None
    assert await two.records.write("e", "pause", None, version + 1) is None
    assert await two.records.write("e", "pause", None, 0) is None
    assert await two.records.write("e", "other", None, 0) == 0
    await two.sees("e", "pause", b"1")


async def test_versions_rise_over_a_deletion(pair: tuple[Watcher, Watcher]) -> None:
    one, _ = pair
    first = await one.records.write("e", "pause", b"1", 0)
    assert isinstance(first, int)
    assert await one.records.write("e", "pause", None, first) == 0
    second = await one.records.write("e", "pause", b"1", 0)
    assert isinstance(second, int)
    assert second > first


async def test_records_are_known_before_anything_else_is_done(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    one, _ = pair
    for election, kind in (("e", "pause"), ("e", "history"), ("f", "pause")):
        assert isinstance(await one.records.write(election, kind, election.encode(), 0), int)
    late = Watcher(place, await place.candidate(ttl_s=6.0))
    await late.records.known()
    assert {where: value for where, (value, _) in late.now.items()} == {
        ("e", "pause"): b"e",
        ("e", "history"): b"e",
        ("f", "pause"): b"f",
    }
    await late.records.known_of("e")
    await late.records.known_of("nowhere")
    assert len(late.told) == 3


async def test_nobody_stands_who_does_not_know_the_records(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    """The election may be paused, for all that is known."""
    one, two = pair
    assert isinstance(await two.records.write("e", "pause", b"1", 0), int)

    async def away() -> None:
        raise failed(Reason.STORE_UNREACHABLE, "away")

    known, one.records.known = one.records.known, away  # type: ignore[method-assign]
    one.one.submit(Stand(one.one.epoch, "e"))
    assert (await one.one.expect(StandFailed)).problem.reason is Reason.STORE_UNREACHABLE
    one.records.known = known  # type: ignore[method-assign]
    await one.one.lead()
    kinds = [type(event) for _, event in one.one.history]
    assert kinds.index(RecordSeen) < kinds.index(Elected)


async def test_records_are_written_by_command(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair[0].one, pair[1]
    one.submit(WriteRecord(one.epoch, "e", "pause", b"1", 0))
    written = await one.expect(RecordWritten)
    await two.sees("e", "pause", b"1")
    assert two.now["e", "pause"][1] == written.version
    one.submit(WriteRecord(one.epoch, "e", "pause", b"2", 0))
    assert (await one.expect(RecordRefused)).problem is None
    one.submit(WriteRecord(one.epoch, "e", "pause", None, written.version))
    assert (await one.expect(RecordWritten)).version == 0


async def test_a_record_of_64_kib_and_many_of_them(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    one, two = pair
    for number in range(20):
        assert isinstance(await one.records.write(f"e{number}", "history", bytes(65_536), 0), int)
    await two.sees("e19", "history", bytes(65_536), 3.0)


async def test_waiting_costs_no_requests(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    """One standing query for all records of all elections; locks and marks under the same path do not wake it for long."""
    one, _ = pair
    await one.records.write("e", "pause", b"1", 0)
    await one.sees("e", "pause", b"1")
    await place.pause(0.4)
    before = one.one.store.traffic.requests
    for number in range(10):
        await place.api("PUT", f"/v1/kv/{place.path}/other{number}", b"x")
    await place.pause(0.5)
    assert one.one.store.traffic.requests == before


async def test_with_no_record_at_all_the_writes_of_others_cost_little(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    """Consul wakes a query under an empty prefix for keys beside it; a hand-over a moment is more than there ever is."""
    one, _ = pair
    before = one.one.store.traffic.requests
    for number in range(20):
        await place.api("PUT", f"/v1/kv/{place.path}/.leaderd/e{number}/mark", b"x")
        await place.pause(0.1)
    assert one.one.store.traffic.requests - before <= 10
    await one.records.write("e", "pause", b"1", 0)
    await one.sees("e", "pause", b"1")


async def test_strange_keys_under_the_prefix_are_passed_over(place: Place, pair: tuple[Watcher, Watcher]) -> None:
    one, _ = pair
    for key in ("e", "e/"):
        await place.api("PUT", f"/v1/kv/{place.path}/.leaderd/.records/{key}", b"x")
    await one.records.write("e", "pause", b"1", 0)
    await one.sees("e", "pause", b"1")
    assert set(one.now) == {("e", "pause")}


async def test_the_watch_survives_the_agent(place: Place) -> None:
    proxy, one = await place.proxied(ttl_s=6.0)
    watcher, other = Watcher(place, one), Watcher(place, await place.candidate(ttl_s=6.0))
    version = await other.records.write("e", "pause", b"1", 0)
    await watcher.sees("e", "pause", b"1")
    proxy.reset()
    assert isinstance(version, int)
    await other.records.write("e", "pause", b"2", version)
    await watcher.sees("e", "pause", b"2", 3.0)


async def test_a_record_that_is_kept_from_us_is_not_taken_for_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    require("consul")
    with ConsulCluster(1, acl=True) as strict:
        place = Place(strict)
        try:
            token = await asyncio.to_thread(strict.acl_token, WITHOUT_RECORDS.format(path=place.path))
            file = tmp_path_factory.mktemp("acl") / "token"
            file.write_text(token)
            one = Watcher(place, await place.candidate(ttl_s=10.0, credentials=Credentials(token_file=file)))
            await one.records.known()
            assert one.now == {}, "the list is empty, without a word"
            one.one.submit(Stand(one.one.epoch, "e"))
            told = await one.one.expect(StandFailed)
            assert told.problem.reason is Reason.PERMISSION_DENIED
            assert f"{place.path}/.leaderd/.records/e/pause" in told.problem.detail
            refused = await one.records.write("e", "pause", b"1", 0)
            assert isinstance(refused, Problem)
            assert refused.reason is Reason.PERMISSION_DENIED
        finally:
            await place.aclose()
