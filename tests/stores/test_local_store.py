"""The local store as a whole: files replaced and damaged, disks that hang, rings lost, threads that die."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from leaderd.election.commands import Claim, Entry, OpenSession, Renew, Stand
from leaderd.election.events import Claimed, Elected, Queued, RenewFailed, SessionFailed, SessionGone, StandFailed
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import StoreAddress
from leaderd.stores.local import LocalStore, desk, worker
from leaderd.stores.local.problem import LocalError
from tests.contract.harness import Bench, Candidate
from tests.contract.operators import LocalOperator
from tests.contract.wires import LockedFile

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    directory = tmp_path / "store"
    made = Bench("local", StoreAddress("local", (), str(directory), False), LocalOperator(directory), lambda: LockedFile(directory))
    yield made
    await made.aclose()


async def test_a_replaced_database_ends_the_session(bench: Bench, tmp_path: Path) -> None:
    """Or the holder would go on in a deleted file while another leads in the new one."""
    one = await bench.candidate(ttl_s=5.0)
    await one.lead()
    for name in os.listdir(tmp_path / "store"):
        if name.startswith("leaderd.db"):
            (tmp_path / "store" / name).unlink()
    gone = await one.expect(SessionGone, within_s=1.0)
    assert "removed or replaced" in gone.problem.detail
    await one.close()
    await one.open()
    await one.lead()


async def test_a_removed_directory_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    one = await bench.candidate(ttl_s=5.0)
    await one.lead()
    shutil.rmtree(tmp_path / "store")
    await one.expect(SessionGone, within_s=1.0)
    await one.close()
    await one.open()
    await one.lead()


async def failed_open(one: Candidate) -> SessionFailed:
    one.epoch += 1
    one.submit(OpenSession(one.epoch, one.ttl_s))
    failed = await one.expect(SessionFailed, epoch=one.epoch)
    assert "\n" not in failed.problem.detail
    return failed


async def test_not_a_database(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o700)
    (tmp_path / "store" / "leaderd.db").write_bytes(b"certainly not a database\n" * 100)
    one = await bench.candidate(open_session=False)
    assert (await failed_open(one)).problem.reason is Reason.FOREIGN_ENTRY
    (tmp_path / "store" / "leaderd.db").unlink()
    await one.open()
    await one.lead()


async def test_a_damaged_database(bench: Bench, tmp_path: Path) -> None:
    one = await bench.candidate()
    await one.lead()
    await one.close()
    await one.end()
    path = tmp_path / "store" / "leaderd.db"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    two = await bench.candidate(open_session=False)
    failed = await failed_open(two)
    assert failed.problem.reason in (Reason.STORE_ERROR, Reason.FOREIGN_ENTRY)
    assert str(path) in failed.problem.detail


async def test_not_a_directory_then_mended(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    one = await bench.candidate(open_session=False)
    assert "is not a directory" in (await failed_open(one)).problem.detail
    (tmp_path / "store").unlink()
    await one.open()


async def test_a_transaction_held_open_by_another_process_is_bounded(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=3.0)
    await one.lead()
    wire = await bench.wire()
    wire.silence()
    one.submit(Renew(one.epoch, one.entries()))
    failed = await one.expect(RenewFailed, within_s=1.5)
    assert failed.problem.reason is Reason.STORE_UNREACHABLE
    wire.heal()
    assert (await one.renew(*one.entries())).owned == {"e"}


async def test_a_disk_that_hangs_is_bounded_and_its_late_answer_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench.candidate(ttl_s=1.5)
    hang, hung = asyncio.Event(), asyncio.Event()
    loop, stand = asyncio.get_running_loop(), desk.Desk.stand

    def slow(self: desk.Desk, *arguments: object) -> object:
        loop.call_soon_threadsafe(hung.set)
        asyncio.run_coroutine_threadsafe(hang.wait(), loop).result()
        return stand(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.Desk, "stand", slow)
    one.submit(Stand(1, "e"))
    await hung.wait()
    one.submit(Stand(1, "never-begun"))
    failed = await one.expect(StandFailed, election="e")
    assert failed.problem.outcome is Outcome.UNKNOWN
    await one.expect(StandFailed, election="never-begun")
    monkeypatch.undo()
    hang.set()
    await one.renew()
    assert one.find(Queued) is None
    assert one.find(Elected) is None
    assert await bench.operator.instances("never-begun") == []
    await one.withdraw("e", None)
    assert await bench.operator.instances("e") == []


async def test_a_claim_that_finds_another_first_is_of_unknown_outcome(bench: Bench) -> None:
    """The other's renewal had read the clock in time, and was committed late: our entry stays, and so does its."""
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    claimed = await one.lead()
    queued = await two.stand()
    assert queued.token is not None
    two.submit(Claim(two.epoch, "e", queued.token, claimed.token))
    failed = await two.expect(StandFailed)
    assert (failed.problem.outcome, failed.problem.reason) == (Outcome.UNKNOWN, Reason.OTHER_LEADER)
    assert two.find(Claimed) is None


async def test_an_unexpected_exception_is_handed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench.candidate()
    monkeypatch.setattr(desk.Desk, "renew", lambda self, command: 1 / 0)
    one.submit(Renew(1, ()))
    await bench.until(lambda: one.crashes, 2.0, "the crash report")
    assert isinstance(one.crashes.pop(), ZeroDivisionError)


async def test_an_unexpected_exception_reaches_the_loop_by_default(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench.candidate()
    assert isinstance(one.store, LocalStore)
    one.store.on_crash = one.store._log_crash
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
    monkeypatch.setattr(desk.Desk, "renew", lambda self, command: 1 / 0)
    one.submit(Renew(1, ()))
    await bench.until(lambda: seen, 2.0, "the report")
    assert isinstance(seen[0]["exception"], ZeroDivisionError)


async def test_a_failing_probe_does_no_harm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await bench.candidate(ttl_s=4.0), await bench.candidate(ttl_s=4.0)
    claimed = await one.lead()
    await two.stand()
    failures = 0

    def broken(self: desk.Desk, due: bool) -> None:
        nonlocal failures
        failures += 1
        raise LocalError(Reason.STORE_ERROR, "no look today")

    monkeypatch.setattr(desk.Desk, "look_around", broken)
    await bench.until(lambda: failures >= 2, 3.0, "two failed probes")
    monkeypatch.undo()
    await one.withdraw("e", claimed.token)
    await two.win()


async def test_a_lost_ring_is_covered_by_the_probe(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.files, "ring", lambda directory, session: None)
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    claimed = await one.lead()
    await two.stand()
    await one.withdraw("e", claimed.token)
    await two.win(within_s=worker.PROBE_S + 0.6)


async def test_a_file_system_without_fifos_is_covered_by_the_probe(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(desk.files.os, "mkfifo", unsupported)
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    claimed = await one.lead()
    await two.stand()
    await one.withdraw("e", claimed.token)
    await two.win(within_s=worker.PROBE_S + 0.6)


async def test_an_idle_leader_and_follower_use_hardly_any_cpu(bench: Bench) -> None:
    one, two = await bench.candidate(ttl_s=10.0), await bench.candidate(ttl_s=10.0)
    await one.lead()
    await two.stand()
    await bench.pause(0.5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start_s = bench.now_s()
    await bench.pause(2.0)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Two candidates, and this test's own waiting. Figures are kept by the benchmarks; this is a guard against busy loops.
    assert used_s / (bench.now_s() - start_s) < 0.05


async def test_the_probe_is_not_a_request(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=10.0)
    await one.lead()
    before = one.store.traffic.requests
    await bench.pause(3 * worker.PROBE_S)
    assert one.store.traffic.requests == before


async def test_tokens_survive_every_process(bench: Bench, tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two", "three"):
        one = await bench.candidate(name)
        claimed = await one.lead()
        tokens.append(claimed.token)
        await one.withdraw()
        await one.close()
        await one.end()
    assert tokens == [1, 2, 3]
    with closing(sqlite3.connect(tmp_path / "store" / "leaderd.db")) as db:
        assert db.execute("SELECT token FROM mark").fetchall() == [(3,)]


async def test_entries_without_a_token_are_asked_by_name(bench: Bench) -> None:
    one = await bench.candidate()
    await one.lead()
    assert (await one.renew(Entry("e", None))).owned == {"e"}
