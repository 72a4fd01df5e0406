"""The operators' commands: what they ask, what they print, and their exit codes."""

import json

import pytest

from tests.cli.conftest import response

HANDED = {"election": "a", "token": 42, "to": "pod-b", "confirmed": True, "new_token": 43, "leaderless_ms": 310}
CASES = [
    (
        ["resign", "a"],
        "POST",
        "resign",
        {},
        {"election": "a", "token": 42, "released": True, "took_ms": 250},
        "resigned from token 42",
    ),
    (
        ["resign", "a", "--cooldown", "1m", "--if-token", "42"],
        "POST",
        "resign",
        {"cooldown": "1m", "if_token": 42},
        {"election": "a", "token": 42, "released": False, "took_ms": 250},
        "not confirmed",
    ),
    (
        ["transfer", "a", "--to", "pod-b"],
        "POST",
        "transfer",
        {"to": "pod-b", "timeout": "10s"},
        HANDED,
        "pod-b leads with token 43",
    ),
    (
        ["pause", "a", "--reason", "upgr\u00e4de", "--expires-in", "1h"],
        "PUT",
        "pause",
        {"reason": "upgr\u00e4de", "expires_in": "1h"},
        {"election": "a", "pause": {"by": "uid 0", "reason": "x", "expires_at": "2026-11-23T08:00:00Z"}},
        "until 2026-11-23T08:00:00Z",
    ),
    (["resume", "a"], "DELETE", "pause", {}, {"election": "a", "pause": None, "was": {"by": "uid 0", "reason": "x"}}, "uid 0: x"),
    (["resume", "a"], "DELETE", "pause", {}, {"election": "a", "pause": None, "was": None}, "was not paused"),
    (["cordon", "a"], "DELETE", "candidacy", {}, {"election": "a", "standing": False, "changed": True}, "does not stand any more"),
    (["uncordon", "a"], "PUT", "candidacy", {}, {"election": "a", "standing": True, "changed": False}, "stood already"),
]


@pytest.mark.parametrize(("argv", "method", "verb", "body", "answer", "said"), CASES)
def test_changes(daemon, cli, argv, method, verb, body, answer, said):
    daemon.answer(response(200, answer))
    code, out, err = cli(*argv)
    assert (code, err) == (0, "")
    assert said in out
    head, _, sent = daemon.requests[-1].partition("\r\n\r\n")
    assert head.startswith(f"{method} /v1/elections/a/{verb} HTTP/1.1\r\n")
    assert "X-Leaderd-Request: 1" in head
    assert json.loads(sent) == {"reason": ""} | body if verb == "pause" and method == "PUT" else json.loads(sent) == body
    code, out, err = cli(*argv, "-o", "json")
    assert (code, json.loads(out)) == (0, answer)


def test_a_transfer_that_was_not_confirmed(daemon, cli):
    daemon.answer(response(202, HANDED | {"confirmed": False, "new_token": None, "leaderless_ms": None}))
    code, out, _ = cli("transfer", "a", "--to", "pod-b")
    assert code == 1
    assert "has not said yet" in out


def test_who_resigns_on_its_way_out_stands_no_more_if_it_does_not_lead(daemon, cli):
    refused = {"title": "No", "status": 409, "detail": "does not lead", "kind": "not_leader"}
    daemon.answer(response(409, refused), response(200, {"election": "a", "standing": False, "changed": True}))
    code, out, err = cli("resign", "a", "--cooldown", "1m", "--or-cordon")
    assert (code, err) == (0, "")
    assert "does not stand any more" in out
    assert [each.split(" HTTP")[0] for each in daemon.requests] == [
        "POST /v1/elections/a/resign",
        "DELETE /v1/elections/a/candidacy",
    ]
    daemon.answer(response(409, refused))
    assert cli("resign", "a", "--if-token", "4", "--or-cordon")[0] == 1


@pytest.mark.parametrize(
    ("status", "more", "code"),
    [
        (409, {"kind": "not_leader"}, 1),
        (412, {"kind": "token_mismatch"}, 1),
        (404, {"kind": "no_such_candidate"}, 1),
        (501, {"kind": "not_supported"}, 1),
        (503, {"kind": "store_unavailable"}, 1),
        (403, {}, 1),
        (404, {"parameter": "election"}, 2),
        (400, {}, 2),
        (500, {}, 3),
    ],
)
def test_refusals(daemon, cli, status, more, code):
    daemon.answer(response(status, {"title": "No", "status": status, "detail": "because of\x1b[2J it", **more}))
    got, out, err = cli("resign", "a")
    assert (got, out) == (code, "")
    assert err == "leaderd: because of\\x1b[2J it\n"


def test_no_daemon_and_no_leaderd(daemon, cli):
    daemon.answer(response(200, b"hello"))
    assert cli("resign", "a")[0] == 3
    code, _, err = cli("resign", "a", "--socket", daemon.path + ".gone")
    assert code == 3
    assert "may be done all the same" in err


def test_usage(cli):
    for argv in (
        ["resign"],
        ["transfer", "a"],
        ["resign", "a/b"],
        ["resign", "a", "--cooldown", "5"],
        ["pause", "a", "--expires-in", "x"],
    ):
        assert cli(*argv)[0] == 2


def test_history(daemon, cli):
    terms = [
        {"token": 42, "leader": "pod-a", "started_at": "2026-11-23T07:00:00Z", "ended_at": None, "reason": None},
        {
            "token": 41,
            "leader": "pod\x1bb",
            "started_at": "2026-11-23T06:00:00Z",
            "ended_at": "2026-11-23T06:59:00Z",
            "reason": "resigned",
        },
    ]
    daemon.answer(response(200, {"election": "a", "terms": terms}))
    code, out, _ = cli("history", "a")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["42", "pod-a", "2026-11-23T07:00:00Z", "-", "-"],
        ["41", "pod\\x1bb", "2026-11-23T06:00:00Z", "2026-11-23T06:59:00Z", "resigned"],
    ]
    assert json.loads(cli("history", "a", "-o", "json")[1])["terms"] == terms


def test_why(daemon, cli):
    entries = [
        {
            "at": "2026-11-23T07:00:00Z",
            "kind": "store",
            "text": "no answer",
            "token": None,
            "times": 3,
            "last_at": "2026-11-23T07:00:02Z",
        }
    ]
    daemon.answer(response(200, {"election": "a", "summary": "lost at 07:00:03Z", "entries": entries}))
    code, out, _ = cli("why", "a")
    assert code == 0
    assert out.splitlines() == ["lost at 07:00:03Z", "  2026-11-23T07:00:00Z  no answer (x3, last at 2026-11-23T07:00:02Z)"]
