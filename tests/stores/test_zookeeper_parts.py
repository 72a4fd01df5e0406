"""The ZooKeeper driver's parts without a real server: names and their order, errors, kazoo's private parts, a lying server."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading

import kazoo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo import exceptions as kz
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KeeperState

from leaderd.election.problems import Outcome, Reason
from leaderd.stores import marks
from leaderd.stores.address import Tls
from leaderd.stores.zookeeper import connection, errors, paths

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
    mark = marks.parse_mark(data)
    assert mark is None or data in {marks.mark_text(mark), marks.ready_text(mark)}


def test_marks() -> None:
    assert marks.parse_mark(marks.mark_text(42)) == marks.parse_mark(marks.ready_text(42)) == 42
    assert marks.mark_text(42) != marks.ready_text(42)
    assert marks.parse_mark(b"42") is None
    assert marks.parse_mark("٤".encode() * 10) is None
    assert marks.parse_mark(b"") is None


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
