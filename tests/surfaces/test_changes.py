"""Routes that change something: who may, with which bodies, and what `Actions` is asked and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leaderd.actions import ActionRefused, Refusal
from leaderd.surfaces.http.guards import OperatorGuard, is_loopback
from leaderd.surfaces.http.wire import Refusal as HttpRefusal
from leaderd.surfaces.http.wire import parse_head
from tests.surfaces.rig import PATIENCE_S, Reply, Rig, leading, snapshot, surfaces

AT = "/v1/elections/daily-report"
MEANT = "Host: localhost\r\nX-Leaderd-Request: 1\r\n"
CHANGES = [
    ("POST", "resign"),
    ("POST", "transfer"),
    ("PUT", "pause"),
    ("DELETE", "pause"),
    ("PUT", "candidacy"),
    ("DELETE", "candidacy"),
]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with surfaces(tmp_path, snapshot(leading())) as found:
        yield found


async def change(rig: Rig, method: str, verb: str, body: Any = None, listener: str = "socket", headers: str = MEANT) -> Reply:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    wire = await rig.connect(listener)
    wire.send(f"{method} {AT}/{verb} HTTP/1.1\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    reply = await wire.reply()
    wire.close()
    return reply


@pytest.mark.parametrize("listener", ["socket", "app"])
async def test_each_change_asks_for_its_action(rig: Rig, listener: str) -> None:
    import os

    by = f"uid {os.geteuid()}" if listener == "socket" else "loopback"
    told = [
        ("POST", "resign", {"cooldown": "30s", "if_token": 42}, ("resign", "daily-report", 30.0, 42)),
        ("POST", "resign", None, ("resign", "daily-report", 0.0, None)),
        ("POST", "transfer", {"to": "pod-b"}, ("transfer", "daily-report", "pod-b", 10.0, None)),
        ("POST", "transfer", {"to": "b", "timeout": "2s", "if_token": 7}, ("transfer", "daily-report", "b", 2.0, 7)),
        ("PUT", "pause", {"reason": "upgrade", "expires_in": "1h"}, ("pause", "daily-report", "upgrade", by, 3600.0)),
        ("DELETE", "pause", None, ("resume", "daily-report")),
        ("PUT", "candidacy", None, ("candidacy", "daily-report", True)),
        ("DELETE", "candidacy", {}, ("candidacy", "daily-report", False)),
    ]
    for method, verb, body, wanted in told:
        reply = await change(rig, method, verb, body, listener)
        assert reply.status == 200, reply.body
        assert rig.actions.asked[-1] == wanted
    assert len(rig.actions.asked) == len(told)


async def test_what_changes_answer(rig: Rig) -> None:
    assert (await change(rig, "POST", "resign")).json == {
        "election": "daily-report",
        "token": 42,
        "released": True,
        "took_ms": 250,
    }
    done = await change(rig, "POST", "transfer", {"to": "pod-b"})
    assert (done.json["confirmed"], done.json["new_token"], done.json["leaderless_ms"]) == (True, 43, 500)
    rig.actions.confirmed = False
    assert (await change(rig, "POST", "transfer", {"to": "pod-b"})).status == 202
    paused = (await change(rig, "PUT", "pause", {"expires_in": "1h"})).json["pause"]
    assert paused["expires_at"] == "2026-11-23T08:00:00Z"
    assert (await change(rig, "DELETE", "pause")).json["was"]["reason"] == "upgrade"
    assert (await change(rig, "DELETE", "candidacy")).json["standing"] is False


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Refusal.UNKNOWN_ELECTION, 404),
        (Refusal.NOT_LEADER, 409),
        (Refusal.TOKEN_MISMATCH, 412),
        (Refusal.NO_SUCH_CANDIDATE, 404),
        (Refusal.INVALID, 400),
        (Refusal.CONFLICT, 409),
        (Refusal.STORE_UNAVAILABLE, 503),
        (Refusal.NOT_SUPPORTED, 501),
    ],
)
async def test_refusals_have_their_status(rig: Rig, kind: Refusal, status: int) -> None:
    rig.actions.refuse = ActionRefused(kind, "no, because")
    for method, verb in CHANGES:
        reply = await change(rig, method, verb, {"to": "b"} if verb == "transfer" else None)
        assert reply.status == status
        assert (reply.problem()["detail"], reply.problem()["kind"]) == ("no, because", kind.value)


async def test_a_fault_shows_nothing_of_itself(rig: Rig) -> None:
    rig.actions.refuse = RuntimeError("secret")
    reply = await change(rig, "POST", "resign")
    assert reply.status == 500
    assert b"secret" not in reply.body


@pytest.mark.parametrize(("method", "verb"), CHANGES)
async def test_changes_are_guarded(rig: Rig, method: str, verb: str) -> None:
    """Each is refused before its body is read, and nothing is asked of the core."""
    for listener, headers, status in (
        ("ops", MEANT, 403),
        ("app", "Host: localhost\r\n", 403),
        ("socket", "", 403),
        ("app", "Host: localhost\r\nX-Leaderd-Request: 0\r\n", 403),
        ("app", "Host: localhost\r\nX-Leaderd-Request: true\r\n", 403),
        ("app", "Host: evil.example\r\nX-Leaderd-Request: 1\r\n", 421),
        ("app", MEANT + "Origin: http://evil.example\r\n", 403),
        ("socket", MEANT + "Sec-Fetch-Site: cross-site\r\n", 403),
    ):
        wire = await rig.connect(listener)
        wire.send(
            f"{method} {AT}/{verb} HTTP/1.1\r\n{headers or 'Host: localhost' + chr(13) + chr(10)}Content-Length: 9\r\n\r\n".encode()
        )
        reply = await wire.reply()
        assert reply.status == status, (listener, headers)
        assert reply.problem()
        assert reply.headers["connection"] == "close"
    assert rig.actions.asked == []


def test_who_is_an_operator() -> None:
    guard = OperatorGuard((1234,))
    meant, plain = parse_head(b"POST / HTTP/1.1\r\nHost: a\r\nX-Leaderd-Request: 1"), parse_head(b"POST / HTTP/1.1\r\nHost: a")
    for uid in (0, 1234):
        guard.check(meant, "socket", uid, False)
    guard.check(meant, "app", None, True)
    for request, listener, uid, loopback in (
        (meant, "socket", 4321, False),
        (meant, "socket", None, False),
        (meant, "app", None, False),
        (meant, "ops", None, True),
        (plain, "socket", 0, False),
        (plain, "app", None, True),
    ):
        with pytest.raises(HttpRefusal):
            guard.check(request, listener, uid, loopback)
    assert [is_loopback(peer) for peer in (("127.0.0.1", 1), ("::1", 1, 0, 0), ("::ffff:127.8.8.8", 1, 0, 0))] == [True] * 3
    assert not any(is_loopback(peer) for peer in (None, "", (), ("10.0.0.1", 1), ("127.evil", 1), ("::ffff:10.0.0.1", 1)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "no JSON"),
        (b"[" * 16000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"17", "no JSON object"),
        (b"\xff", "no JSON"),
        (b'{"if_token": NaN}', "no JSON"),
        ({"cooldown": 30}, "cooldown: is no duration"),
        ({"cooldown": "-3s", "if_token": "42", "x": 1}, "cooldown: "),
        ({"if_token": True}, "if_token: is no fencing token"),
        ({"if_token": 2**64}, "if_token: is no fencing token"),
        (b'{"if_token": 1, "if_token": 2}', "if_token: given more than once"),
    ],
)
async def test_bodies_are_read_strictly(rig: Rig, body: Any, said: str) -> None:
    reply = await change(rig, "POST", "resign", body)
    assert reply.status == 400
    assert said in reply.problem()["detail"]
    assert rig.actions.asked == []


async def test_all_that_is_wrong_with_a_body_is_told_at_once(rig: Rig) -> None:
    said = (await change(rig, "POST", "transfer", {"timeout": 1, "if_token": "x", "tokn": 3})).problem()["detail"]
    for part in ("timeout: is no duration", "if_token: is no fencing token", "tokn: unknown key", "to: is missing"):
        assert part in said


async def test_bodies_are_bounded(rig: Rig) -> None:
    for headers, status in (("Content-Length: 16385\r\n", 413), ("Transfer-Encoding: chunked\r\n", 411)):
        wire = await rig.connect("socket")
        wire.send(f"POST {AT}/resign HTTP/1.1\r\n{MEANT}{headers}\r\n".encode())
        assert (await wire.reply()).problem()["status"] == status
    assert rig.actions.asked == []


async def test_a_body_may_come_late_and_in_parts_and_be_asked_for(rig: Rig) -> None:
    wire = await rig.connect("socket")
    wire.send(f"POST {AT}/resign HTTP/1.1\r\n{MEANT}Expect: 100-continue\r\nContent-Length: 15\r\n\r\n".encode())
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    for byte in b'{"if_token": 42':
        assert rig.actions.asked == []
        wire.send(bytes((byte,)))
    assert (await wire.reply()).status == 400  # the closing brace is not part of what was announced
    wire.send(
        f"POST {AT}/resign HTTP/1.1\r\n{MEANT}Content-Length: 16\r\n\r\n".encode()
        + b'{"if_token": 42}GET /livez HTTP/1.1\r\nHost: a\r\n\r\n'
    )
    assert (await wire.reply()).status == 200
    assert (await wire.reply()).body == b"ok"


async def test_a_body_that_does_not_come_is_not_waited_for(rig: Rig) -> None:
    wire = await rig.connect("socket")
    wire.send(f"POST {AT}/resign HTTP/1.1\r\n{MEANT}Content-Length: 15\r\n\r\n{{".encode())
    assert (await wire.reply()).status == 408
    assert rig.actions.asked == []


async def test_who_goes_away_does_not_undo_it(rig: Rig) -> None:
    rig.actions.go.clear()
    wire = await rig.connect("socket")
    wire.send(f"POST {AT}/resign HTTP/1.1\r\n{MEANT}\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        while not rig.actions.asked:
            await asyncio.sleep(0)
    # Others are served meanwhile.
    assert (await rig.ask("/livez")).status == 200
    wire.close()
    assert (await rig.ask("/livez")).status == 200
    rig.actions.go.set()
    async with asyncio.timeout(PATIENCE_S):
        while rig.surfaces.connections:
            await asyncio.sleep(0)
    assert (await rig.ask("/livez")).status == 200


async def test_the_next_request_waits_for_the_change(rig: Rig) -> None:
    rig.actions.go.clear()
    wire = await rig.connect("socket")
    wire.send(f"POST {AT}/resign HTTP/1.1\r\n{MEANT}\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        while not rig.actions.asked:
            await asyncio.sleep(0)
    rig.actions.go.set()
    assert (await wire.reply()).json["token"] == 42
    assert (await wire.reply()).body == b"ok"


async def test_other_methods_are_refused_with_what_is_allowed(rig: Rig) -> None:
    for method, verb, allow in (("GET", "resign", "POST, OPTIONS"), ("POST", "pause", "PUT, DELETE, OPTIONS")):
        reply = await rig.ask(f"{AT}/{verb}", method=method)
        assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert (await rig.ask(f"{AT}/pause", method="OPTIONS")).headers["allow"] == "PUT, DELETE, OPTIONS"
    wire = await rig.connect("socket")
    wire.send(f"PUT /v1/elections/nope/candidacy HTTP/1.1\r\n{MEANT}\r\n".encode())
    assert (await wire.reply()).status == 404
    assert rig.actions.asked == []


@pytest.mark.parametrize("listener", ["socket", "app", "ops"])
async def test_looking_back(rig: Rig, listener: str) -> None:
    terms = (await rig.ask(f"{AT}/history", listener)).json["terms"]
    assert terms[0] == {"token": 42, "leader": "pod-7d9c", "started_at": "2026-11-23T06:59:55Z", "ended_at": None, "reason": None}
    assert terms[1]["reason"] == "resigned"
    found = (await rig.ask(f"{AT}/why", listener)).json
    assert found["summary"].startswith("pod-7d9c leads")
    assert found["entries"][1]["times"] == 3
    reply = await rig.ask(f"{AT}/why", listener, headers="Host: localhost\r\nAccept: text/plain\r\n")
    assert reply.headers["content-type"].startswith("text/plain")
    lines = reply.body.decode().splitlines()
    assert lines[0] == found["summary"]
    assert all(line.isprintable() for line in lines)
    for verb in ("history", "why"):
        assert (await rig.ask(f"/v1/elections/nope/{verb}", listener)).status == 404
        assert (await rig.ask(f"{AT}/{verb}?x=1", listener)).status == 400
