import pytest

from leaderd.cli import daemon_client
from leaderd.cli import wait as waiting
from tests.cli.conftest import FOLLOWING, LEADING, response


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only in sleeps."""
    now = [50.0]
    monkeypatch.setattr(daemon_client, "now_s", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_started(daemon, cli, clock):
    daemon.answer(response(503, b""), response(503, b""), response(200, b"ok"))
    assert cli("wait", "--for=started", "--max", "30s") == (0, "", "")
    assert daemon.requests[0].startswith("GET /startupz ")
    assert len(daemon.requests) == 3


def test_leader(daemon, cli, clock):
    daemon.answer(response(503, FOLLOWING), response(200, LEADING))
    assert cli("wait", "--for", "leader", "a") == (0, "", "")
    assert daemon.requests[1].startswith("GET /is-leader/a?promise=0 ")


def test_too_long(daemon, cli, clock):
    daemon.answer(response(503, FOLLOWING))
    code, out, err = cli("wait", "--for=leader", "--max=1s")
    assert (code, out) == (124, "")
    assert err == "leaderd: waited 1s for leader: this instance is follower (other_leader)\n"
    assert 49 < clock[0] <= 51


def test_a_daemon_that_is_not_there_yet(cli, clock, monkeypatch, tmp_path):
    monkeypatch.setenv("LEADERD_SOCKET", f"{tmp_path}/x.sock")
    code, _, err = cli("wait", "--for=started", "--max=300ms")
    assert code == 124
    assert "no daemon at" in err


def test_an_unknown_election_is_not_waited_for(daemon, cli, clock):
    daemon.answer(response(404, {"detail": "no election 'x'"}))
    assert cli("wait", "--for=leader", "x") == (2, "", "leaderd: no election 'x'\n")


@pytest.mark.parametrize("argv", [[], ["--for=ever"], ["--for=leader", "--max", "30"], ["--for=leader", "a/b"]])
def test_usage(cli, argv):
    assert cli("wait", *argv)[0] == 2
