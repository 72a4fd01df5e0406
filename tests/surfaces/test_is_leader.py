"""`/is-leader`: body, headers, every parameter, and what enters the ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from leaderd.election.events import Contender
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, State, Term
from tests.surfaces.rig import US, Rig, following, leading, snapshot, surfaces

LISTENERS = ("app", "ops", "socket")
YES = {
    "election": "daily-report",
    "leader": True,
    "state": "leader",
    "reason": "lease_held",
    "token": 42,
    "token_text": "42",
    "instance": US,
    "leader_instance": US,
    "valid_for_ms": 1000,
    "valid_until_boottime_ns": 101_000_000_000,
    "lease_remaining_ms": 7312,
    "term_started_at": "2026-11-23T06:59:55Z",
    "index": 17,
    "store": {"kind": "etcd", "connected": True, "last_seen_ms": 412},
}
NO = {
    "election": "daily-report",
    "leader": False,
    "state": "follower",
    "reason": "other_leader",
    "token": None,
    "token_text": None,
    "instance": US,
    "leader_instance": "pod-b",
    "valid_for_ms": None,
    "valid_until_boottime_ns": None,
    "lease_remaining_ms": None,
    "term_started_at": None,
    "index": 5,
    "store": {"kind": "etcd", "connected": True, "last_seen_ms": 412},
}


async def test_a_yes_field_by_field(leader: Rig) -> None:
    reply = await leader.ask("/is-leader/daily-report")
    assert reply.status == 200
    assert reply.json == YES
    assert list(reply.json) == list(YES)
    wanted = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-leaderd-index": "17",
        "x-leaderd-state": "leader",
        "x-fencing-token": "42",
        "x-leaderd-valid-for-ms": "1000",
        "date": "Mon, 23 Nov 2026 07:00:00 GMT",
    }
    assert wanted.items() <= reply.headers.items()


async def test_a_no_field_by_field(follower: Rig) -> None:
    reply = await follower.ask("/is-leader")
    assert reply.status == 503
    assert reply.json == NO
    assert list(reply.json) == list(YES)
    assert reply.headers["x-leaderd-index"] == "5"
    assert reply.headers["x-leaderd-state"] == "follower"
    assert reply.headers["cache-control"] == "no-store"
    assert "x-fencing-token" not in reply.headers
    assert "x-leaderd-valid-for-ms" not in reply.headers


async def test_all_listeners_give_the_same_answer_at_the_same_instant(two: Rig) -> None:
    for target in (
        "/is-leader/daily-report",
        "/is-leader?election=invoices",
        "/v1/elections",
        "/?election=invoices",
        "/nope",
        "/is-leader",
    ):
        replies = [await two.ask(target, listener) for listener in LISTENERS]
        assert replies[0] == replies[1] == replies[2], target


@pytest.mark.parametrize(
    "target", ["/is-leader", "/is-leader/daily-report", "/is-leader?election=daily-report", "/is-leader/daily%2Dreport"]
)
async def test_ways_to_name_the_election(leader: Rig, target: str) -> None:
    assert (await leader.ask(target)).json == YES


# ---- the deadline (I1)


async def test_the_answer_is_of_the_instant_it_is_given(leader: Rig) -> None:
    wire = await leader.connect()
    request = b"GET /is-leader HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for at_s, left_ms in ((100.0, 7312), (106.0, 1312), (107.311, 1)):
        leader.clock.boot_s = at_s
        wire.send(request)
        reply = await wire.reply()
        assert (reply.status, reply.json["lease_remaining_ms"]) == (200, left_ms)
        assert reply.json["valid_for_ms"] == min(1000, left_ms)
        assert reply.json["valid_until_boottime_ns"] <= 107_312_000_000
    leader.clock.boot_s = 107.312
    wire.send(request)
    reply = await wire.reply()
    # The board still shows the term: nobody has published its end. The answer is no all the same.
    assert leader.board.snapshot.elections["daily-report"].term is not None
    assert (reply.status, reply.json["leader"], reply.json["reason"]) == (503, False, "lease_expired")
    assert reply.json["leader_instance"] is None


async def test_a_clock_jump_that_the_core_does_not_know_of_is_a_no(leader: Rig) -> None:
    leader.clock.jumps = 1
    reply = await leader.ask("/is-leader")
    assert (reply.status, reply.json["state"], reply.json["reason"]) == (503, "unknown", "clock_jumped")
    assert reply.json["leader_instance"] is None
    assert leader.promised() == []


async def test_suspended_is_still_a_yes(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading(silent=True, reason=Reason.STORE_SILENT), connected=False)) as rig:
        reply = await rig.ask("/is-leader")
        assert (reply.status, reply.json["state"], reply.json["reason"]) == (200, "suspended", "store_silent")
        assert reply.headers["x-leaderd-state"] == "suspended"
        assert reply.json["store"]["connected"] is False


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (following(resting=State.STARTING, reason=Reason.STARTING, leader=None, led=False), "starting"),
        (following(resting=State.DRAINING, reason=Reason.DRAINING), "draining"),
        (following(resting=State.PAUSED, reason=Reason.PAUSED), "paused"),
        (following(resting=State.UNKNOWN, reason=Reason.STORE_UNREACHABLE), "unknown"),
    ],
)
async def test_every_other_state_is_503(tmp_path: Path, view: ElectionView, state: str) -> None:
    async with surfaces(tmp_path, snapshot(view)) as rig:
        reply = await rig.ask("/is-leader")
        assert (reply.status, reply.json["state"], reply.headers["x-leaderd-state"]) == (503, state, state)


# ---- who leads, when unsure


@pytest.mark.parametrize(
    ("view", "connected", "shown"),
    [
        (following(), True, "pod-b"),
        (following(), False, None),
        (following(leader=None, led=False), True, None),
        # Our entry is first, but the claim is not proven yet.
        (following(leader=US, contenders=(Contender(US, True, 42),)), True, None),
        # Another daemon under our name: an app that compares names must not take itself for the leader.
        (following(leader=US, contenders=(Contender(US, False, 41),)), True, None),
        (leading(term=Term(42, 95.0, 99.0)), True, None),
    ],
)
async def test_leader_instance_is_null_when_unsure(tmp_path: Path, view: ElectionView, connected: bool, shown: str | None) -> None:
    async with surfaces(tmp_path, snapshot(view, connected=connected)) as rig:
        assert (await rig.ask("/is-leader")).json["leader_instance"] == shown
        assert (await rig.ask("/")).json["name"] == (shown or "")


async def test_names_from_the_store_are_made_harmless(tmp_path: Path) -> None:
    nasty = "a\r\nX-Evil: 1\x00\udcff" + "z" * 1000
    async with surfaces(tmp_path, snapshot(following(leader=nasty, contenders=(Contender(nasty, False, 41),)))) as rig:
        reply = await rig.ask("/is-leader")
        assert len(reply.json["leader_instance"]) == 256
        assert reply.json["leader_instance"].startswith("a\r\nX-Evil: 1\x00?z")
        assert "x-evil" not in reply.headers
        assert (await rig.ask("/v1/elections")).status == 200


async def test_last_seen_is_the_later_of_answer_and_confirmed_renewal(leader: Rig) -> None:
    leader.last_answer_s = lambda: 99.9
    assert (await leader.ask("/is-leader")).json["store"]["last_seen_ms"] == 100
    leader.last_answer_s = lambda: 50.0
    assert (await leader.ask("/is-leader")).json["store"]["last_seen_ms"] == 412
    leader.board.publish(replace(leader.board.snapshot, last_confirmed_s=None))
    leader.last_answer_s = lambda: None
    assert (await leader.ask("/is-leader")).json["store"]["last_seen_ms"] is None


# ---- the promise (I10)


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    ("query", "until_s", "valid_for_ms"),
    [
        ("", 101.0, 1000),
        ("?promise=5s", 105.0, 5000),
        ("?promise=500ms", 100.5, 500),
        ("?promise=1.5s", 101.5, 1500),
        ("?promise=2m", 107.312, 7312),
        ("?promise=1h", 107.312, 7312),
        ("?promise=0", 100.0, 0),
        ("?promise=0s", 100.0, 0),
        ("?promise=0ms", 100.0, 0),
    ],
)
async def test_a_yes_is_entered_in_the_ledger_once(
    leader: Rig, listener: str, query: str, until_s: float, valid_for_ms: int
) -> None:
    if listener == "ops":  # nobody on the network can hold a release back by more than the usual promise
        until_s, valid_for_ms = min(until_s, 101.0), min(valid_for_ms, 1000)
    reply = await leader.ask(f"/is-leader{query}", listener)
    assert reply.status == 200
    assert reply.json["valid_for_ms"] == valid_for_ms
    assert reply.json["valid_until_boottime_ns"] == pytest.approx(until_s * 1e9, abs=2)
    assert reply.headers["x-leaderd-valid-for-ms"] == str(valid_for_ms)
    assert leader.promised() == [until_s]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_every_method_that_says_yes_promises_once(leader: Rig, method: str) -> None:
    reply = await leader.ask("/is-leader", method=method)
    assert reply.status == 200
    assert leader.promised() == [101.0]


@pytest.mark.parametrize("query", ["?token=41", "?min_valid=8s", "?nonsense=1", "?promise=5", "?leader_code=99"])
async def test_a_no_promises_nothing(leader: Rig, query: str) -> None:
    assert (await leader.ask(f"/is-leader{query}")).status in {400, 503}
    assert leader.promised() == []


async def test_a_follower_promises_nothing(follower: Rig) -> None:
    for target in ("/is-leader", "/is-leader?promise=1h", "/", "/v1/elections", "/metrics"):
        await follower.ask(target)
    assert follower.promised() == []


async def test_looks_promise_nothing_beyond_now(leader: Rig) -> None:
    for target in ("/v1/elections", "/v1/elections/daily-report", "/metrics", "/livez", "/readyz", "/is-leader?promise=0"):
        assert (await leader.ask(target, "ops")).status == 200
    assert all(until_s <= 100.0 for until_s in leader.promised())


async def test_a_foreign_web_page_gets_an_answer_and_no_promise(leader: Rig) -> None:
    for extra in ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"):
        reply = await leader.ask("/is-leader?promise=1h", headers=f"Host: localhost\r\n{extra}\r\n")
        assert (reply.status, reply.json["valid_for_ms"]) == (200, 0)
        assert (await leader.ask("/", headers=f"Host: localhost\r\n{extra}\r\n")).status == 200
    assert all(until_s <= 100.0 for until_s in leader.promised())


# ---- conditions


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("min_valid=0", 200, "lease_held"),
        ("min_valid=7s", 200, "lease_held"),
        ("min_valid=7311ms", 200, "lease_held"),
        ("min_valid=7313ms", 503, "min_valid_unmet"),
        ("min_valid=1h", 503, "min_valid_unmet"),
        ("token=42", 200, "lease_held"),
        ("token=042", 200, "lease_held"),
        ("token=41", 503, "other_term"),
        ("token=0", 503, "other_term"),
        ("token=18446744073709551615", 503, "other_term"),
        ("token=42&min_valid=5s&promise=5s", 200, "lease_held"),
    ],
)
async def test_conditions(leader: Rig, query: str, status: int, reason: str) -> None:
    reply = await leader.ask(f"/is-leader?{query}")
    assert (reply.status, reply.json["reason"], reply.json["leader"]) == (status, reason, status == 200)
    if status == 503:
        # Leading all the same: state and leader say so, and nothing in the answer can be used as a yes.
        assert (reply.json["state"], reply.json["leader_instance"]) == ("leader", US)
        assert reply.json["token"] is reply.json["token_text"] is reply.json["valid_for_ms"] is None


@pytest.mark.parametrize(
    ("query", "yes", "no"),
    [
        ("leader_code=204", 204, 503),
        ("follower_code=429", 200, 429),
        ("leader_code=299&follower_code=599", 299, 599),
        ("leader_code=304", 304, 503),
        ("follower_code=200", 200, 200),
    ],
)
async def test_codes_can_be_chosen(two: Rig, query: str, yes: int, no: int) -> None:
    reply = await two.ask(f"/is-leader/daily-report?{query}")
    assert reply.status == yes
    assert bool(reply.body) == (yes not in {204, 304})
    assert reply.headers["x-fencing-token"] == "42"
    reply = await two.ask(f"/is-leader/invoices?{query}")
    assert (reply.status, reply.json["leader"]) == (no, False)
    assert "x-fencing-token" not in reply.headers


BAD = [
    ("promise=5", "promise", "5", "no unit"),
    ("promise=", "promise", "", "empty"),
    ("promise=-5s", "promise", "-5s", "sign"),
    ("promise=5S", "promise", "5S", "capitals"),
    ("promise=5+s", "promise", "5+s", "no duration"),
    ("promise=nan", "promise", "nan", "finite"),
    ("promise=inf", "promise", "inf", "finite"),
    ("promise=1e3s", "promise", "1e3s", "no duration"),
    ("promise=1m30s", "promise", "1m30s", "mixes units"),
    ("promise=99999999999s", "promise", "99999999999s", "digits"),
    ("promise=%D9%A5s", "promise", "\u0665s", "no duration"),
    ("min_valid=abc", "min_valid", "abc", "no duration"),
    ("min_valid=5d", "min_valid", "5d", "unit"),
    ("min_valid", "min_valid", "", "empty"),
    ("token=", "token", "", "whole number"),
    ("token=-1", "token", "-1", "whole number"),
    ("token=4.2", "token", "4.2", "whole number"),
    ("token=0x2a", "token", "0x2a", "whole number"),
    ("token=18446744073709551616", "token", "18446744073709551616", "whole number"),
    ("token=" + "9" * 300, "token", "9" * 80 + "...", "whole number"),
    ("token=%D9%A4", "token", "\u0664", "whole number"),
    ("leader_code=abc", "leader_code", "abc", "status code"),
    ("leader_code=100", "leader_code", "100", "status code"),
    ("leader_code=600", "leader_code", "600", "status code"),
    ("leader_code=0200", "leader_code", "0200", "status code"),
    ("follower_code=", "follower_code", "", "status code"),
    ("promise=1s&promise=2s", "promise", "2s", "more than once"),
    ("token=42&token=42", "token", "42", "more than once"),
    ("promis=1s", "promis", "1s", "unknown parameter"),
    ("PROMISE=1s", "PROMISE", "1s", "unknown parameter"),
    ("indexes=17", "indexes", "17", "unknown parameter"),
    ("wait=30s", "wait", "30s", "needs index="),
    ("=1", "", "1", "unknown parameter"),
    ("&", "", "", "unknown parameter"),
    ("promise=1s&", "", "", "unknown parameter"),
    ("%70romis=1", "promis", "1", "unknown parameter"),
    ("x" * 200 + "=1", "x" * 80 + "...", "1", "unknown parameter"),
]


@pytest.mark.parametrize(("query", "parameter", "value", "rule"), BAD)
async def test_bad_queries_name_parameter_value_and_rule(leader: Rig, query: str, parameter: str, value: str, rule: str) -> None:
    reply = await leader.ask(f"/is-leader?{query}")
    assert reply.status == 400
    found = reply.problem()
    assert (found["parameter"], found["value"]) == (parameter, value)
    assert rule in found["rule"]
    assert rule in found["detail"]


async def test_a_parameter_may_be_percent_encoded(leader: Rig) -> None:
    assert (await leader.ask("/is-leader?%70romise=%35s")).json["valid_for_ms"] == 5000


@pytest.mark.parametrize(
    "target", ["/is-leader/nope", "/is-leader?election=nope", "/v1/elections/nope", "/?election=nope", "/is-leader?election="]
)
async def test_unknown_election(leader: Rig, target: str) -> None:
    reply = await leader.ask(target)
    assert reply.status == 404
    assert "daily-report" in reply.problem()["detail"]


@pytest.mark.parametrize("target", ["/is-leader", "/is-leader?promise=1s", "/"])
async def test_several_elections_and_none_named(two: Rig, target: str) -> None:
    reply = await two.ask(target)
    assert reply.status == 400
    assert reply.problem()["parameter"] == "election"
    assert "?election=" in reply.problem()["detail"]


async def test_the_election_cannot_be_named_twice(two: Rig) -> None:
    assert (await two.ask("/is-leader/invoices?election=invoices")).problem()["parameter"] == "election"


# ---- methods


@pytest.mark.parametrize("listener", LISTENERS)
async def test_head_is_get_without_its_body(two: Rig, listener: str) -> None:
    for name, status in (("daily-report", 200), ("invoices", 503)):
        get = await two.ask(f"/is-leader/{name}", listener)
        head = await two.ask(f"/is-leader/{name}", listener, method="HEAD")
        assert head.status == get.status == status
        assert head.headers == get.headers


async def test_options_gives_the_code_for_load_balancers(two: Rig) -> None:
    for name, status in (("daily-report", 200), ("invoices", 503)):
        reply = await two.ask(f"/is-leader/{name}", method="OPTIONS")
        assert (reply.status, reply.body, reply.headers["allow"]) == (status, b"", "GET, HEAD, OPTIONS")
    assert (await two.ask("/is-leader/invoices?follower_code=418", method="OPTIONS")).status == 418
    assert (await two.ask("/is-leader/nope", method="OPTIONS")).problem()["status"] == 404
    for target in ("/metrics", "/v1/elections", "*"):
        reply = await two.ask(target, method="OPTIONS")
        assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PURGE", "get"])
async def test_nothing_can_be_changed(leader: Rig, listener: str, method: str) -> None:
    for target in ("/is-leader", "/v1/elections/daily-report", "/metrics", "/livez", "/"):
        reply = await leader.ask(target, listener, method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert reply.problem()
    assert (await leader.ask("/quitquitquit", listener, method=method)).status == 404
    # Without the header that says that it is meant.
    for target in ("/v1/elections/daily-report/resign", "/v1/elections/daily-report/pause"):
        assert (await leader.ask(target, listener, method=method)).status in {403, 405}
    assert leader.actions.asked == []
    assert leader.promised() == []
