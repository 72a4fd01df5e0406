"""The ZooKeeper driver and a server with a script: one that lies, falls silent in part, or answers what cannot be read."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd.election.commands import CloseSession, Entry, OpenSession, Renew, Stand
from leaderd.election.events import (
    Connected,
    Disconnected,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials, parse_address
from leaderd.stores.zookeeper import transport
from leaderd.stores.zookeeper.records import Records
from tests.contract.candidate import Candidate
from tests.contract.harness import Bench
from tests.contract.proxy import Proxy
from tests.stores.zookeeper_support import AUTH_XID, Script, reply

MULTI, CREATE2, CHILDREN, GET, EXISTS = 14, 15, 8, 4, 3
ALIVE = struct.pack(">ibi", 13, False, 0) + struct.pack(">ibi", -1, True, -1)
"""What a `multi` of one check answers when the node exists."""


@pytest.fixture(autouse=True)
def _no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """These scripts know nothing of records: nobody asks for them."""

    async def nothing(self: Records) -> None:
        pass

    monkeypatch.setattr(Records, "unknown", nothing)
    monkeypatch.setattr(Records, "follow", nothing)
    monkeypatch.setattr(Records, "fresh", lambda self, then: True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    operator: Any = None
    made = Bench("zookeeper", parse_address("zookeeper://127.0.0.1:1/p"), operator, lambda: Proxy("127.0.0.1", 1))
    yield made
    await made.aclose()


async def candidate_of(bench: Bench, script: Script, credentials: Credentials | None = None) -> Candidate:
    address = replace(bench.address, hosts=(("127.0.0.1", script.port),))
    one = await bench.candidate(address=address, open_session=False, ttl_s=3.0, credentials=credentials)
    one.epoch = 1
    one.submit(OpenSession(1, 3.0))
    return one


async def test_refused_credentials_are_auth_failed(bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-canary\n")
    caplog.set_level(logging.DEBUG)
    async with Script(lambda kind, xid, body: reply(xid, -115 if xid == AUTH_XID else 0)) as script:
        one = await candidate_of(bench, script, Credentials("user", secret))
        failed = await one.expect(SessionFailed)
        assert failed.problem.reason is Reason.AUTH_FAILED
        assert f"127.0.0.1:{script.port}" in failed.problem.detail
        assert one.find(SessionOpened) is None
        await one.end()
    assert "s3cret-canary" not in caplog.text + repr(one.history) + repr(vars(one.store))
    assert "kazoo" not in caplog.text


async def test_a_server_that_wants_another_way_to_log_in(bench: Bench) -> None:
    async with Script(lambda kind, xid, body: reply(xid, -124 if kind == EXISTS else 0)) as script:
        failed = await (await candidate_of(bench, script)).expect(SessionFailed)
        assert failed.problem.reason is Reason.AUTH_FAILED


@pytest.mark.parametrize("secret", [None, b"\xff\xfe"], ids=["missing", "not-utf8"])
async def test_an_unreadable_secret(bench: Bench, tmp_path: Path, secret: bytes | None) -> None:
    path = tmp_path / "secret"
    if secret is not None:
        path.write_bytes(secret)
    async with Script() as script:
        one = await candidate_of(bench, script, Credentials("user", path))
        failed = await one.expect(SessionFailed)
        assert failed.problem.reason is Reason.AUTH_FAILED
        assert str(path) in failed.problem.detail


async def test_a_greeting_without_end_is_not_read(bench: Bench) -> None:
    async with Script(greeting=struct.pack(">i", 1 << 30)) as script:
        one = await candidate_of(bench, script)
        failed = await one.expect(SessionFailed, within_s=5.0)
        assert failed.problem.reason is Reason.WRONG_PROTOCOL


async def test_an_unknown_error_code_is_no_crash(bench: Bench) -> None:
    """ZooKeeper has error codes that kazoo does not know; on one kazoo's thread dies."""
    async with Script(lambda kind, xid, body: reply(xid, -999 if kind == MULTI else 0, b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Renew(1, ()))
        gone = await one.expect(SessionGone)
        assert gone.problem.reason is Reason.SESSION_GONE
        await one.end()


@pytest.mark.parametrize("body", [b"", b"\xff" * 9, struct.pack(">ibi", -1, True, -1)], ids=["empty", "noise", "no-results"])
async def test_answers_that_cannot_be_read(bench: Bench, body: bytes) -> None:
    async with Script(lambda kind, xid, _: reply(xid, 0, body if kind == MULTI else b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Renew(1, ()))
        failed = await bench.until(lambda: one.find(RenewFailed) or one.find(SessionGone), 5.0, "an answer")
        assert isinstance(failed, SessionGone) or failed.problem.reason is Reason.STORE_ERROR
        assert one.find(Renewed) is None
        await one.end()


def _string(text: str) -> bytes:
    return struct.pack(">i", len(text)) + text.encode()


def _stat(owner: int = 0x1234, czxid: int = 77) -> bytes:
    return struct.pack(">qqqqiiiqiiq", czxid, czxid, 0, 0, 0, 0, 0, owner, 1, 0, 0)


async def test_a_negative_sequence_number_never_leads(bench: Bench) -> None:
    """After 2^31 creations `%010d` gives `-2147483648`, which sorts before everybody who waits, and before the leader."""
    name = "/p/e/_c_x-lock--2147483648"

    def answer(kind: int, xid: int, body: bytes) -> bytes | None:
        return reply(xid, 0, _string(name) + _stat() if kind == CREATE2 else b"\0" * 68)

    async with Script(answer) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Stand(1, "e"))
        failed = await one.expect(StandFailed)
        assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.STORE_ERROR)
        assert "delete /p/e" in failed.problem.detail
        assert one.find(Elected) is one.find(Queued) is None
        assert 2 in script.seen, "our node was taken out"


def first_in_line(owner: list[int]) -> Callable[[int, int, bytes], bytes | None]:
    """A server at which our node is the only one; who owns it is what `owner` says at the moment."""
    name = "_c_x-lock-0000000001"

    def answer(kind: int, xid: int, body: bytes) -> bytes | None:
        if kind == CREATE2:
            return reply(xid, 0, _string(f"/p/e/{name}") + _stat())
        if kind == GET:
            data = b"%020d" % 0 if b"mark" in body else b"x"
            return reply(xid, 0, struct.pack(">i", len(data)) + data + _stat(owner=owner[0]))
        if kind == MULTI:
            return reply(xid, 0, ALIVE)
        return reply(xid, 0, struct.pack(">i", 1) + _string(name) if kind == CHILDREN else b"\0" * 68)

    return answer


def in_one_breath(one: Candidate, state: str) -> None:
    """Have the next answer arrive together with news of the connection, which the event loop handles before whoever waits."""
    session = one.store._session  # type: ignore[attr-defined]
    settle = session.client._settle

    def both(future: asyncio.Future[Any], result: Any, take: Any = None) -> None:
        session.client._settle = settle
        settle(future, result, take)
        session._state_changed(state)

    session.client._settle = both


async def test_a_node_of_another_session_is_not_ours(bench: Bench) -> None:
    async with Script(first_in_line([0x99])) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Stand(1, "e"))
        await one.expect(Queued)
        await one.expect(EntryGone)
        assert one.find(Elected) is None
        one.submit(Renew(1, (Entry("e", 77),)))
        renewed = await bench.until(lambda: one.find(Renewed) or one.find(RenewFailed), 3.0, "an answer")
        assert not isinstance(renewed, Renewed) or renewed.owned == frozenset()


async def standing(bench: Bench, script: Script) -> Candidate:
    one = await candidate_of(bench, script)
    await one.expect(SessionOpened)
    one.submit(Stand(1, "e"))
    await one.expect(Elected)
    one.submit(Renew(1, (Entry("e", 77),)))
    assert (await one.expect(Renewed)).owned == {"e"}
    await one.expect(QueueSeen)
    await bench.pause(0.2)
    return one


async def test_a_check_that_crossed_a_reconnection_proves_nothing(bench: Bench) -> None:
    """It may have been sent on the new connection, and have found another's node of the same name."""
    owner = [0x1234]
    async with Script(first_in_line(owner)) as script:
        one = await standing(bench, script)
        owner[0] = 0x99
        in_one_breath(one, transport.SUSPENDED)
        one.submit(Renew(1, (Entry("e", 77),)))
        assert (await one.expect(Renewed)).owned == frozenset()
        await one.expect(EntryGone)


async def test_an_answer_that_comes_with_the_end_of_the_session_proves_nothing(bench: Bench) -> None:
    async with Script(first_in_line([0x1234])) as script:
        one = await standing(bench, script)
        in_one_breath(one, transport.LOST)
        one.submit(Renew(1, (Entry("e", 77),)))
        await one.expect(SessionGone)
        await bench.pause(0.2)
        assert one.find(Renewed) is one.find(RenewFailed) is None


async def test_a_node_made_as_the_connection_broke_is_not_proven(bench: Bench) -> None:
    owner = [0x1234]
    async with Script(first_in_line(owner)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        owner[0] = 0x99
        in_one_breath(one, transport.SUSPENDED)
        one.submit(Stand(1, "e"))
        await one.expect(Queued)
        one.submit(Renew(1, (Entry("e", 77),)))
        assert (await one.expect(Renewed)).owned == frozenset()
        await one.expect(EntryGone)


async def test_a_server_that_answers_reads_only_is_left(bench: Bench) -> None:
    """A follower without a quorum: reads and pings are answered, a proposal never is."""
    async with Script(lambda kind, xid, body: None if kind == MULTI else reply(xid, 0, b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Renew(1, ()))
        await one.expect(Disconnected)
        failed = await one.expect(RenewFailed)
        assert failed.problem.outcome is Outcome.UNKNOWN
        assert script.seen.count(MULTI) == 1, "it is not asked twice"
        await bench.until(lambda: script.connects == 2, 3.0, "another connection")


async def test_patience_doubles_with_a_slow_server(bench: Bench) -> None:
    async with Script(lambda kind, xid, body: None if kind == MULTI else reply(xid, 0, b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        took_s = []
        for _ in range(2):
            begun_s = bench.now_s()
            one.submit(Renew(1, ()))
            await one.expect(RenewFailed, within_s=6.0)
            took_s.append(bench.now_s() - begun_s)
            await one.expect(Connected)
        assert took_s[1] > 1.5 * took_s[0], took_s


async def test_a_session_that_is_reported_expired_at_once(bench: Bench) -> None:
    async with Script(ttl_ms=0) as script:
        one = await candidate_of(bench, script)
        failed = await one.expect(SessionFailed)
        assert failed.problem.reason is Reason.WRONG_PROTOCOL
        assert script.connects == 1
        one.submit(CloseSession(1))


async def test_submitting_before_start_and_after_close(bench: Bench) -> None:
    one = await bench.candidate(open_session=False)
    for epoch in (0, 1):
        one.store.submit(Stand(epoch, "e"))
    await one.store.aclose()
    one._ended = True
    await asyncio.sleep(0)
    assert one.history == []


async def test_another_session_than_ours_is_the_end_of_ours(bench: Bench) -> None:
    """Whoever answers in a session that we did not ask for knows nothing of our entries."""
    async with Script(lambda kind, xid, _: reply(xid, 0, ALIVE if kind == MULTI else b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        script.session += 1
        one.store._session.client.cut()  # type: ignore[attr-defined]
        gone = await one.expect(SessionGone)
        assert gone.problem.reason is Reason.SESSION_GONE
        assert one.find(Connected) is None
        one.submit(Renew(1, ()))
        await bench.pause(0.2)
        assert one.find(Renewed) is None


async def test_a_shorter_timeout_after_a_reconnection_counts(bench: Bench) -> None:
    async with Script(lambda kind, xid, _: reply(xid, 0, ALIVE if kind == MULTI else b"\0" * 68)) as script:
        one = await candidate_of(bench, script)
        assert (await one.expect(SessionOpened)).ttl_s == 3.0
        one.submit(Renew(1, ()))
        assert (await one.expect(Renewed)).ttl_s == 3.0
        script.ttl_ms = 1500
        one.store._session.client.cut()  # type: ignore[attr-defined]
        await one.expect(Connected)
        one.submit(Renew(1, ()))
        assert (await one.expect(Renewed)).ttl_s == 1.5


async def test_a_resolver_that_never_answers_delays_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def blocked(host: Any, *args: Any, **more: Any) -> Any:
        if host != "blocked.invalid":
            return resolve(host, *args, **more)
        asked.set()
        released.wait(20.0)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    threads = threading.active_count()
    one = await bench.candidate(address=replace(bench.address, hosts=(("blocked.invalid", 1),)), open_session=False, ttl_s=3.0)
    try:
        for epoch in (1, 2):
            one.epoch = epoch
            one.submit(OpenSession(epoch, 3.0))
            failed = await one.expect(SessionFailed, within_s=2.5)
            assert failed.problem.reason is Reason.STORE_UNREACHABLE
            assert "blocked.invalid:1" in failed.problem.detail
            one.submit(CloseSession(epoch))
        assert asked.is_set()
    finally:
        released.set()
    await bench.until(lambda: threading.active_count() <= threads, 5.0, "the end of all threads")
