import json

import pytest

from leaderd.cli import status
from tests.cli.conftest import FOLLOWING, LEADING, response

BODY = {
    "instance": "pod-1",
    "incarnation": "ab12",
    "store": {"kind": "etcd", "connected": True, "last_seen_ms": 412},
    "elections": [
        LEADING
        | {
            "candidates": [
                {"instance": "pod-1", "token": 42, "leader": True, "own": True},
                {"instance": "pod-2", "token": 43, "leader": False, "own": False},
            ]
        },
        FOLLOWING | {"election": "daily-report", "candidates": [{"instance": "pod-2", "token": 40, "leader": True, "own": False}]},
        {"election": "new", "leader": False, "state": "unknown", "reason": "store_unreachable", "token": None, "candidates": []},
    ],
}


def test_the_table(daemon, cli):
    daemon.answer(response(200, BODY))
    assert cli("status") == (
        0,
        """\
instance pod-1 (*), store etcd: connected, last answer 0.4s ago

ELECTION      LEADER  TOKEN  STATE HERE                   LEASE  QUEUE
a             pod-1*  42     leader                       7.3s   pod-1*, pod-2
daily-report  pod-2   40     follower                     -      pod-2
new           -       -      unknown (store_unreachable)  -      -
""",
        "",
    )


def test_who_paused_it_and_until_when(daemon, cli):
    pause = {"by": "uid 0", "reason": "database\x1b[2J upgrade", "expires_at": "2026-11-29T15:49:13Z"}
    paused = FOLLOWING | {"state": "paused", "reason": "paused", "leader_instance": None, "candidates": [], "pause": pause}
    daemon.answer(response(200, {**BODY, "elections": [LEADING, paused]}))
    _, out, _ = cli("status")
    said = out.splitlines()[-2:]
    assert said == ["", "a: PAUSED by uid 0 until 2026-11-29T15:49:13Z: database\\x1b[2J upgrade. Nobody leads."]


def test_one_election(daemon, cli):
    daemon.answer(response(200, BODY))
    assert len(cli("status", "daily-report")[1].splitlines()) == 4
    code, out, err = cli("status", "nope")
    assert (code, out) == (2, "")
    assert "it stands in: a, daily-report, new" in err


def test_json(daemon, cli):
    daemon.answer(response(200, BODY))
    assert json.loads(cli("status", "-o", "json")[1]) == BODY
    assert [e["election"] for e in json.loads(cli("status", "a", "-o", "json")[1])["elections"]] == ["a"]


def test_a_long_queue_and_a_silent_store(daemon, cli):
    queue = [{"instance": f"pod-{n}", "token": n, "leader": n == 0, "own": False} for n in range(9)]
    body = {
        "instance": "x",
        "store": {"kind": "consul", "connected": False, "last_seen_ms": None},
        "elections": [FOLLOWING | {"candidates": queue}],
    }
    daemon.answer(response(200, body))
    out = cli("status")[1]
    assert "store consul: NOT CONNECTED, never answered" in out
    assert "pod-3, pod-4, and 4 more" in out


def test_names_from_peers_move_no_cursor(daemon, cli):
    daemon.answer(response(200, {"instance": "\x1b[2J", "elections": [LEADING | {"leader_instance": "\u202eevil\n"}]}))
    out = cli("status")[1]
    assert all(line.isprintable() for line in out.splitlines())
    assert "store unknown" in out


@pytest.mark.parametrize(
    "answer", [response(200, b"[]"), response(200, {"elections": 1}), response(500, b""), response(404, {"detail": "no"})]
)
def test_no_status(daemon, cli, answer):
    daemon.answer(answer)
    assert cli("status")[0] == 3


def test_watching_goes_on_while_the_daemon_is_away(daemon, cli, monkeypatch):
    looks = iter(range(3))

    def rest(_):
        if next(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", rest)
    daemon.answer(response(200, BODY), b"", response(200, BODY))
    code, out, err = cli("status", "a", "--watch", "-o", "json")
    assert code == 130
    assert ["error" in json.loads(line) for line in out.splitlines()] == [False, True, False]
    assert err == ""
