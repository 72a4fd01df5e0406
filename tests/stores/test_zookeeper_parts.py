"""The ZooKeeper driver's parts without a real server: names and their order, errors, kazoo's private parts, a lying server."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kazoo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo import exceptions as kz
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KeeperState

from leaderd.election.commands import CloseSession, Entry, OpenSession, Renew, Stand
from leaderd.election.events import (
    Connected,
    Disconnected,
    Elected,
    EntryGone,
    Queued,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.zookeeper import connection, errors, paths
from tests.contract.harness import Bench, Candidate
from tests.contract.proxy import Proxy
from tests.stores.zookeeper_support import AUTH_XID, Script, reply

MULTI, CREATE2, CHILDREN, GET, EXISTS = 14, 15, 8, 4, 3


# ---- names


def test_the_place_of_an_election() -> None:
    place = paths.place_of("a/b", "e")
    assert (place.directory, place.mark, place.node("n")) == ("/a/b/e", "/a/b/.leaderd/e/mark", "/a/b/e/n")
    place = paths.place_of("", "e")
    assert (place.directory, place.mark) == ("/e", "/.leaderd/e/mark")


def test_order_is_curators() -> None:
    names = [
        "_c_ffffffff-0000-0000-0000-000000000000-lock-0000000001",
        "_c_00000000-0000-0000-0000-000000000000-lock-0000000002",
        "xlock-0000000000",
        "lock-lock-0000000003",
        "0000000000-a-kazoo-lock",
        "zebra",
    ]
    assert paths.in_order(names) == [
        "xlock-0000000000",
        "0000000000-a-kazoo-lock",
        names[0],
        names[1],
        "lock-lock-0000000003",
        "zebra",
    ]


@given(st.integers(0, 2**31 - 2), st.integers(0, 2**31 - 2))
def test_text_order_is_creation_order(one: int, other: int) -> None:
    first, second = (paths.new_prefix() + f"{number:010d}" for number in sorted((one, other)))
    assert paths.is_in_sequence(first)
    assert paths.sort_key(first) <= paths.sort_key(second)


@pytest.mark.parametrize("number", ["-2147483648", "-000000001", "", "12345", "00000000000"])
def test_what_is_not_in_sequence(number: str) -> None:
    assert not paths.is_in_sequence(paths.new_prefix() + number)


@given(st.binary(max_size=2000))
def test_any_data_can_be_shown(data: bytes) -> None:
    text = paths.name_text(data)
    assert len(text) <= 255
    assert text.isprintable()
    mark = paths.parse_mark(data)
    assert mark is None or paths.mark_text(mark) == data


def test_marks() -> None:
    assert paths.parse_mark(paths.mark_text(42)) == 42
    assert paths.parse_mark(b"42") is None
    assert paths.parse_mark("٤".encode() * 10) is None
    assert paths.parse_mark(b"") is None


# ---- errors


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (kz.ConnectionLoss(), Outcome.UNKNOWN, Reason.STORE_UNREACHABLE),
        (TimeoutError(), Outcome.UNKNOWN, Reason.STORE_UNREACHABLE),
        (kz.SessionMovedError(), Outcome.UNKNOWN, Reason.STORE_UNREACHABLE),
        (kz.NoAuthError(), Outcome.FAILED, Reason.PERMISSION_DENIED),
        (kz.AuthFailedError(), Outcome.FAILED, Reason.AUTH_FAILED),
        (kz.SessionExpiredError(), Outcome.FAILED, Reason.SESSION_GONE),
        (kz.MarshallingError(), Outcome.FAILED, Reason.STORE_ERROR),
        (errors.BadAnswerError("struct.error"), Outcome.UNKNOWN, Reason.STORE_ERROR),
        (errors.RefusedError(Reason.FOREIGN_ENTRY, "x"), Outcome.FAILED, Reason.FOREIGN_ENTRY),
    ],
)
def test_errors_are_mapped(error: Exception, outcome: Outcome, reason: Reason) -> None:
    problem = errors.problem_of(error, "standing in /e")
    assert (problem.outcome, problem.reason) == (outcome, reason)
    assert "\n" not in problem.detail


def test_a_programming_error_is_no_failed_call() -> None:
    with pytest.raises(ZeroDivisionError):
        errors.problem_of(ZeroDivisionError(), "standing")


def _dropped(cause: Exception) -> ConnectionDropped:
    """As kazoo wraps what a socket says."""
    try:
        try:
            raise cause
        except Exception as error:
            raise ConnectionDropped(f"socket connection error: {error}")  # noqa: B904
    except ConnectionDropped as wrapped:
        return wrapped


def _certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (_dropped(ConnectionRefusedError(111, "Connection refused")), Reason.STORE_UNREACHABLE, "h:1: Connection refused"),
        (_dropped(_certificate_error()), Reason.AUTH_FAILED, "h:1: certificate refused: self-signed certificate"),
        (_dropped(ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x")), Reason.AUTH_FAILED, "h:1 refused our TLS"),
        (_dropped(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")), Reason.WRONG_PROTOCOL, "does not speak TLS"),
        (_dropped(connection.TlsFilesError("TLS files /a: no")), Reason.AUTH_FAILED, "TLS files /a: no"),
        (ConnectionDropped("invalid server response: an answer of -1 bytes"), Reason.WRONG_PROTOCOL, "not ZooKeeper"),
        (ConnectionDropped("socket connection broken"), Reason.STORE_UNREACHABLE, "h:1: socket connection broken"),
        (kz.AuthFailedError(), Reason.AUTH_FAILED, "refused the credentials"),
    ],
)
def test_why_nobody_lets_us_in(error: Exception, reason: Reason, said: str) -> None:
    problem = connection.trouble_of(error, "h:1")
    assert problem.reason is reason
    assert said in problem.detail
    assert "\n" not in problem.detail


# ---- kazoo


def test_kazoo_is_still_as_we_know_it() -> None:
    """Everything private that `connection` and `transport` use. What they make of it is tested against real servers."""
    assert kazoo.__version__.startswith("2.11.")
    client = KazooClient()
    for name in ("_conn_retry", "_connection", "_stopped", "_call", "_session_id", "hosts", "connected"):
        assert hasattr(client, name), name
    for name in ("_socket", "connection_stopped", "stop", "close", "zk_loop", "_expand_client_hosts"):
        assert hasattr(client._connection, name), name
    wanted = {
        "_connect": ["self", "host", "hostip", "port"],
        "_connect_attempt": ["self", "host", "hostip", "port", "retry"],
        "_invoke": ["self", "timeout", "request", "xid"],
        "_read": ["self", "length", "timeout"],
        "__init__": ["self", "client", "retry_sleeper", "logger", "sasl_options"],
    }
    for name, parameters in wanted.items():
        assert list(inspect.signature(getattr(ConnectionHandler, name)).parameters) == parameters, name
    source = inspect.getsource(ConnectionHandler._connect)
    assert "_invoke(" in source
    assert "session_callback(KeeperState.CONNECTED)" in source
    assert KeeperState.AUTH_FAILED == "AUTH_FAILED"


def test_the_handler_has_no_threads() -> None:
    before = threading.active_count()
    handler = connection.Handler(1.0, None)
    handler.start()
    told: list[object] = []
    result = handler.async_result()
    result.rawlink(told.append)
    result.set(1)
    assert told == [result]
    assert threading.active_count() == before
    handler.stop()


def test_waiting_for_sockets() -> None:
    handler = connection.Handler(1.0, None)
    ours, theirs = socket.socketpair()
    with theirs:
        assert handler.select([ours], [], [], 0.0) == ([], [], [])
        assert handler.select([], [ours], [], None) == ([], [ours], [])
        theirs.send(b"x")
        assert handler.select([theirs, ours], [ours], [], 5.0) == ([ours], [ours], [])
        theirs.close()
        ours.recv(1)
        assert handler.select([ours], [], [], 5.0) == ([ours], [], []), "the end of a stream is read"
        ours.close()
        with pytest.raises(OSError, match="closed"):
            handler.select([ours], [], [], 5.0)


def test_what_tls_has_decrypted_is_ready_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        secured = ssl.create_default_context().wrap_socket(ours, server_hostname="h", do_handshake_on_connect=False)
        monkeypatch.setattr(ssl.SSLSocket, "pending", lambda self: 1)
        with secured:
            readable, _, _ = connection.Handler(1.0, Tls()).select([secured], [], [], 60.0)
            assert readable == [secured]


# ---- a server that lies


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


async def test_a_node_of_another_session_is_not_ours(bench: Bench) -> None:
    name = "_c_x-lock-0000000001"

    def answer(kind: int, xid: int, body: bytes) -> bytes | None:
        if kind == CREATE2:
            return reply(xid, 0, _string(f"/p/e/{name}") + _stat())
        if kind == GET:
            data = b"%020d" % 0 if b"mark" in body else b"x"
            return reply(xid, 0, struct.pack(">i", len(data)) + data + _stat(owner=0x99))
        return reply(xid, 0, struct.pack(">i", 1) + _string(name) if kind == CHILDREN else b"\0" * 68)

    async with Script(answer) as script:
        one = await candidate_of(bench, script)
        await one.expect(SessionOpened)
        one.submit(Stand(1, "e"))
        await one.expect(Queued)
        await one.expect(EntryGone)
        assert one.find(Elected) is None
        one.submit(Renew(1, (Entry("e", 77),)))
        renewed = await bench.until(lambda: one.find(Renewed) or one.find(RenewFailed), 3.0, "an answer")
        assert not isinstance(renewed, Renewed) or renewed.owned == frozenset()


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
