"""Records beside an election: read before anybody is elected, watched, written only over the version seen."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Stand, WriteRecord
from leaderd.election.events import Elected, RecordRefused, RecordSeen, RecordWritten
from leaderd.election.records import MAX_BYTES
from tests.contract.candidate import Candidate
from tests.contract.harness import Bench

SEEN_S = 1.0
"""Rule 12."""


async def write(candidate: Candidate, value: bytes | None, version: int, *, election: str = "e", kind: str = "pause") -> int:
    """Write a record; returns its version."""
    candidate.submit(WriteRecord(candidate.epoch, election, kind, value, version))
    return (await candidate.expect(RecordWritten, epoch=candidate.epoch, election=election, kind=kind)).version


@pytest.fixture(autouse=True)
def _only_with_records(bench: Bench) -> None:
    from leaderd.stores.consul import ConsulStore
    from leaderd.stores.etcd import EtcdStore
    from leaderd.stores.local import LocalStore
    from leaderd.stores.zookeeper import ZooKeeperStore

    stores = {"consul": ConsulStore, "etcd": EtcdStore, "local": LocalStore, "zookeeper": ZooKeeperStore}
    if not bench.variant.startswith("sim-") and not stores[bench.kind].keeps_records:
        pytest.skip("this driver keeps no records")


async def test_a_record_is_seen_by_everybody(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    one.keep_renewing()
    two.keep_renewing()
    await one.lead()
    await two.stand()
    version = await write(one, b'{"by":"eva"}', 0)
    for candidate in (one, two):
        seen = await candidate.expect(RecordSeen, kind="pause", election="e", within_s=SEEN_S)
        assert (seen.value, seen.version) == (b'{"by":"eva"}', version)


async def test_a_record_is_seen_without_standing(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    two.keep_renewing()
    await write(one, b"{}", 0)
    await two.expect(RecordSeen, kind="pause", value=b"{}", within_s=SEEN_S)


async def test_changes_and_the_end_of_a_record_are_seen(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first = await write(one, b"1", 0)
    await two.expect(RecordSeen, value=b"1", within_s=SEEN_S)
    second = await write(one, b"2", first)
    assert second != first
    await two.expect(RecordSeen, value=b"2", within_s=SEEN_S)
    gone = await write(one, None, second)
    assert (await two.expect(RecordSeen, value=None, within_s=SEEN_S)).version == gone
    third = await write(two, b"3", gone)
    assert third not in {first, second, gone}, "a version names one value"
    await one.expect(RecordSeen, value=b"3", within_s=SEEN_S)


async def test_a_record_is_written_only_over_the_version_seen(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first = await write(one, b"1", 0)
    second = await write(one, b"2", first)
    for version in (0, first, second + 1):
        two.submit(WriteRecord(two.epoch, "e", "pause", b"9", version))
        assert (await two.expect(RecordRefused, election="e", kind="pause")).problem is None
        two.submit(WriteRecord(two.epoch, "e", "pause", None, version))
        assert (await two.expect(RecordRefused, election="e", kind="pause")).problem is None
    assert await write(two, b"3", second) not in {first, second}


async def test_of_two_writers_one_wins(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    one.submit(WriteRecord(one.epoch, "e", "pause", b"1", 0))
    two.submit(WriteRecord(two.epoch, "e", "pause", b"2", 0))
    outcomes = []
    for candidate in (one, two):
        await bench.until(
            lambda candidate=candidate: candidate.find(RecordWritten) or candidate.find(RecordRefused), bench.profile.prompt_s
        )
        outcomes.append(candidate.find(RecordWritten) is not None)
    assert sorted(outcomes) == [False, True]


async def test_records_are_told_before_anybody_is_elected(bench: Bench) -> None:
    one = await bench.candidate()
    await write(one, b"1", 0)
    await write(one, b"2", 0, kind="transfer")
    await write(one, b"3", 0, election="other")
    await one.close()
    for candidate in (one, await bench.candidate(open_session=False)):
        await candidate.open()
        candidate.keep_renewing()
        candidate.submit(Stand(candidate.epoch, "e"))
        await candidate.expect(Elected, within_s=bench.profile.takeover_s)
        told = [event for _, event in candidate.history]
        opened = max(i for i, event in enumerate(told) if type(event).__name__ == "SessionOpened")
        elected = max(i for i, event in enumerate(told) if isinstance(event, Elected))
        seen = {(event.election, event.kind): event.value for event in told[opened:elected] if isinstance(event, RecordSeen)}
        assert seen == {("e", "pause"): b"1", ("e", "transfer"): b"2", ("other", "pause"): b"3"}
        await candidate.close()


async def test_kinds_and_elections_do_not_mix(bench: Bench) -> None:
    one = await bench.steady()
    for election in ("e", "e2", "e.pause", "ä/ö"):
        for kind in ("pause", "transfer", "history"):
            await write(one, f"{election} {kind}".encode(), 0, election=election, kind=kind)
    two = await bench.steady()
    for election in ("e", "e2", "e.pause", "ä/ö"):
        for kind in ("pause", "transfer", "history"):
            found = await two.expect(RecordSeen, election=election, kind=kind)
            assert found.value == f"{election} {kind}".encode()


async def test_the_largest_record_passes(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    value = bytes(range(256)) * (MAX_BYTES // 256)
    await write(one, value, 0, kind="history")
    assert (await two.expect(RecordSeen, kind="history")).value == value


async def test_a_write_whose_answer_is_lost_is_in_doubt(bench: Bench) -> None:
    bench.needs_network()
    wire = await bench.wire()
    one, two = await bench.candidate(wire=wire, ttl_s=6.0), await bench.candidate()
    await bench.pause(0.3)
    wire.swallow()
    one.submit(WriteRecord(one.epoch, "e", "pause", b"1", 0))
    refused = await one.expect(RecordRefused, within_s=10.0)
    assert refused.problem is not None
    assert refused.problem.outcome == "unknown"
    await two.expect(RecordSeen, value=b"1", within_s=SEEN_S)


async def test_after_the_connection_was_away_the_latest_is_seen(bench: Bench) -> None:
    bench.needs_network()
    wire = await bench.wire()
    one, two = await bench.candidate(wire=wire, ttl_s=6.0), await bench.candidate()
    one.keep_renewing()
    first = await write(two, b"1", 0)
    await one.expect(RecordSeen, value=b"1", within_s=SEEN_S)
    wire.silence()
    second = await write(two, b"2", first)
    await write(two, b"3", second)
    await bench.pause(0.5)
    wire.heal()
    await one.expect(RecordSeen, value=b"3", within_s=6.0)
