import json
import socket

import pytest

from leaderd.cli import daemon_client
from tests.cli.conftest import FOLLOWING, LEADING, response


def test_yes(daemon, cli):
    code, out, err = cli("is-leader", "a")
    assert (code, json.loads(out), err) == (0, LEADING, "")
    assert daemon.requests[0].startswith("GET /is-leader/a HTTP/1.1\r\nHost: localhost\r\n")


def test_no(daemon, cli):
    daemon.answer(response(503, FOLLOWING))
    code, out, _ = cli("is-leader", "a")
    assert (code, json.loads(out)["state"]) == (1, "follower")


def test_quiet(daemon, cli):
    assert cli("is-leader", "-q") == (0, "", "")
    assert daemon.requests[0].startswith("GET /is-leader HTTP/1.1\r\n")


def test_the_query(daemon, cli):
    assert cli("is-leader", "a", "-q", "--min-valid", "5s", "--token", "42", "--promise", "1.5s")[0] == 0
    assert daemon.requests[0].startswith("GET /is-leader/a?min_valid=5s&token=42&promise=1.5s HTTP/1.1\r\n")


@pytest.mark.parametrize("promise", ["0", "0s", "0ms"])
def test_a_mere_look_has_no_validity_to_outlive(daemon, cli, promise):
    daemon.answer(response(200, LEADING | {"valid_for_ms": 0}))
    assert cli("is-leader", "a", "-q", "--promise", promise)[0] == 0


def test_answer_older_than_its_promise(daemon, cli, monkeypatch):
    """A client that was frozen, or a daemon that was slow, must not turn an old yes into exit 0."""
    readings = iter([100.0] + [101.0] * 100)
    monkeypatch.setattr(daemon_client, "now_s", lambda: next(readings))
    code, _, err = cli("is-leader", "a")
    assert code == 1
    assert "longer than it was valid" in err


def test_answer_just_within_its_promise(daemon, cli, monkeypatch):
    readings = iter([100.0] + [100.999] * 100)
    monkeypatch.setattr(daemon_client, "now_s", lambda: next(readings))
    assert cli("is-leader", "a")[0] == 0


@pytest.mark.parametrize(
    "body",
    [
        LEADING | {"leader": False},
        LEADING | {"leader": "true"},
        LEADING | {"leader": 1},
        LEADING | {"valid_for_ms": None},
        LEADING | {"valid_for_ms": "1000"},
        LEADING | {"valid_for_ms": float("nan")},
    ],
)
def test_a_200_that_is_no_clear_yes_is_no(daemon, cli, body):
    daemon.answer(response(200, body))
    assert cli("is-leader", "a", "-q")[0] == 1


def test_a_503_is_never_a_yes(daemon, cli):
    daemon.answer(response(503, LEADING))
    assert cli("is-leader", "a", "-q")[0] == 1


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (response(404, {"title": "Not Found", "detail": "no election 'x': known are a, b"}), 2, "no election 'x': known are a, b"),
        (response(400, {"title": "min_valid: '5' has no unit"}), 2, "has no unit"),
        (response(500, b"oops"), 3, "answered 500"),
        (response(200, b"oops"), 3, "no leaderd"),
        (response(200, b"[]"), 3, "no leaderd"),
        (response(200, b"[" * 100_000), 3, "no leaderd"),
        (response(200, {}), 3, "no leaderd"),
        (response(503, b"<html>busy</html>"), 3, "no leaderd"),
        (b"", 3, "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 3, "does not speak HTTP"),
        (b"HTTP/1.1 20x OK\r\n\r\n", 3, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 3, "is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 3, "too long"),
        (response(200, LEADING)[:-5], 3, "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 3, "cut off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, 3, "header is too long"),
    ],
)
def test_other_answers(daemon, cli, answer, code, message):
    daemon.answer(answer)
    got, out, err = cli("is-leader", "x")
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_body_in_chunks_or_to_the_end_of_the_connection(daemon, cli):
    body = json.dumps(LEADING).encode()
    chunks = b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    daemon.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, b"HTTP/1.0 200 OK\r\n\r\n" + body)
    assert cli("is-leader")[0] == 0
    assert cli("is-leader")[0] == 0


def test_an_endless_body(daemon, cli):
    def pour(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    daemon.answer(pour)
    code, _, err = cli("is-leader")
    assert (code, "too long" in err) == (3, True)


def test_a_silent_daemon(daemon, cli, monkeypatch):
    monkeypatch.setattr(daemon_client.get, "__defaults__", (0.1,))
    daemon.answer(None)
    code, _, err = cli("is-leader")
    assert (code, "did not answer within 0.1s" in err) == (3, True)


def test_a_daemon_that_drips(daemon, cli, monkeypatch):
    """Each byte comes in time, the whole never: the bound is on the whole."""
    ticks = iter(range(1000))
    monkeypatch.setattr(daemon_client, "now_s", lambda: float(next(ticks)))

    def drip(connection):
        while True:
            connection.sendall(b"H")

    daemon.answer(drip)
    assert cli("is-leader")[0] == 3


@pytest.mark.parametrize(
    "argv",
    [
        ["../x"],
        ["a b"],
        ["a\r\nX: y"],
        ["x" * 64],
        [""],
        ["a", "b"],
        ["a", "--min-valid", "5"],
        ["a", "--min-valid", "-5s"],
        ["a", "--promise", "nan"],
        ["a", "--token", "x"],
        ["a", "--token", "-1"],
        ["a", "--tok", "1"],
        ["--nope"],
    ],
)
def test_usage(cli, argv):
    code, out, err = cli("is-leader", *argv)
    assert (code, out) == (2, "")
    assert "usage: leaderd is-leader" in err
    assert "Traceback" not in err


def test_no_daemon(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("LEADERD_SOCKET", raising=False)
    monkeypatch.setenv("LEADERD_RUNTIME_DIR", str(tmp_path))
    socket_path = f"{tmp_path}/leaderd.sock"
    assert cli("is-leader") == (
        3,
        "",
        f"leaderd: no daemon found, tried {socket_path}: start `leaderd run`, or give --socket PATH or LEADERD_SOCKET\n",
    )
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path)
    assert "it has ended: start `leaderd run`" in cli("is-leader")[2]


@pytest.mark.parametrize(
    ("path", "message"), [("off", "LEADERD_SOCKET is off"), ("/nope/x.sock", "no daemon at /nope"), ("/" + "x" * 200, "too long")]
)
def test_a_socket_that_cannot_be(cli, monkeypatch, path, message):
    monkeypatch.setenv("LEADERD_SOCKET", path)
    code, out, err = cli("is-leader")
    assert (code, out) == (3, "")
    assert message in err


def test_the_flag_wins_over_the_variable(daemon, cli, monkeypatch):
    monkeypatch.setenv("LEADERD_SOCKET", "/nope")
    assert cli("is-leader", "-q", "--socket", daemon.path)[0] == 0
