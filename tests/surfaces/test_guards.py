"""The Host allow-list and foreign web pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderd.surfaces.http import guards
from leaderd.surfaces.http.guards import HostGuard, is_own_address
from leaderd.surfaces.http.wire import Refusal, parse_head
from tests.surfaces.rig import Rig, leading, snapshot, surfaces

GOOD = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost:4040",
    "127.0.0.1",
    "127.0.0.1:4040",
    "127.0.0.1:1",
    "127.8.8.8",
    "[::1]",
    "[::1]:4040",
    "leaderd.internal",
    "Leaderd.Internal:4041",
    "leaderd.internal.",
    "192.0.2.7",
    "[2001:db8::7]:4041",
]
FOREIGN = [
    "evil.example",
    "evil.example:4040",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "xlocalhost",
    "evil-localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.256",
    "0.0.0.0",
    "[::]",
    "198.51.100.9",
    "255.255.255.255",
    "224.0.0.1",
    "[2001:db8::1]",
    "..",
    "-",
    "leaderd",
    "internal",
    "sub.leaderd.internal",
]
MALFORMED = [
    "",
    " ",
    ":4040",
    "localhost:",
    "localhost:http",
    "localhost:-1",
    "localhost:999999",
    "localhost:80:80",
    "user@localhost",
    "localhost/",
    "http://localhost",
    "localhost localhost",
    "localhost,evil.example",
    "[::1",
    "::1",
    "[localhost]",
    "[::1]evil",
    "[1::2::3]",
    "[fe80::1%eth0]",
    "loc\u00e4lhost",
    "%6cocalhost",
    "*",
    "a" * 254,
]
ALLOWED = ("Leaderd.Internal", "192.0.2.7", "[2001:db8::7]")


async def status_of(rig: Rig, host: str, listener: str) -> int:
    reply = await rig.ask("/is-leader", listener, headers=f"Host: {host}\r\n")
    if reply.status != 200:
        assert reply.headers["connection"] == "close"
        assert reply.problem()
    return reply.status


async def test_host_allow_list(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading()), hosts=ALLOWED) as rig:
        for listener in ("app", "ops"):
            assert {host: await status_of(rig, host, listener) for host in GOOD} == dict.fromkeys(GOOD, 200)
            assert {host: await status_of(rig, host, listener) for host in FOREIGN} == dict.fromkeys(FOREIGN, 421)
            assert {host: await status_of(rig, host, listener) for host in MALFORMED} == dict.fromkeys(MALFORMED, 400)
        # Who can open the socket's file is no browser.
        assert await status_of(rig, "anything.example", "socket") == 200


async def test_every_path_and_method_is_guarded(leader: Rig) -> None:
    for listener in ("app", "ops"):
        for target in ("/", "/is-leader", "/metrics", "/livez", "/v1/elections", "/nope", "/openapi.json"):
            for method in ("GET", "HEAD", "OPTIONS", "POST"):
                assert (await leader.ask(target, listener, method, "Host: evil.example\r\n")).status == 421
    assert leader.promised() == []


async def test_http_1_0_without_host_is_refused_over_tcp_only(leader: Rig) -> None:
    for listener, status in (("app", 400), ("ops", 400), ("socket", 200)):
        wire = await leader.connect(listener)
        wire.send(b"GET /is-leader HTTP/1.0\r\n\r\n")
        assert (await wire.reply()).status == status


async def test_a_guarded_connection_stays_guarded(leader: Rig) -> None:
    """An allowed first request does not open the door for the second."""
    wire = await leader.connect()
    wire.send(b"GET /is-leader HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await wire.reply()).status == 200
    wire.send(b"GET /is-leader HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert (await wire.reply()).status == 421
    assert await wire.rest() == b""


def test_own_addresses_are_asked_of_the_kernel() -> None:
    assert is_own_address("127.0.0.1")
    for other in ("0.0.0.0", "::", "198.51.100.9", "localhost", "", "224.0.0.1", "255.255.255.255", "1.2.3"):
        assert not is_own_address(other), other


def test_the_address_where_the_connection_arrived_is_ours() -> None:
    guard = HostGuard()
    request = parse_head(b"GET / HTTP/1.1\r\nHost: 198.51.100.9:4041")
    guard.check(request, "198.51.100.9")
    with pytest.raises(Refusal):
        guard.check(request, "198.51.100.10")


def test_another_address_of_the_machine_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "is_own_address", lambda host: host == "10.1.2.3")
    HostGuard().check(parse_head(b"GET / HTTP/1.1\r\nHost: 10.1.2.3"), "127.0.0.1")


def test_remembered_hosts_are_bounded() -> None:
    guard = HostGuard()
    for port in range(1, 1000):
        guard.check(parse_head(f"GET / HTTP/1.1\r\nHost: localhost:{port}".encode()), "127.0.0.1")
    assert len(guard._known) <= 64


@pytest.mark.parametrize(
    ("headers", "get"),
    [
        ("Sec-Fetch-Site: none", 200),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:4040", 200),
        ("Origin: http://127.0.0.1:4040", 200),
        ("Origin: http://[::1]:4040", 200),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: made-up", 403),
        ("Origin: null", 403),
        ("Origin: http://evil.example", 403),
        ("Origin: https://localhost.evil.example", 403),
        ("Origin: file:///etc", 403),
        ("Origin: http://localhost@evil.example", 403),
        ("Origin:", 403),
    ],
)
async def test_a_foreign_page_may_only_get(leader: Rig, headers: str, get: int) -> None:
    for listener in ("app", "ops", "socket"):
        extra = f"Host: localhost\r\n{headers}\r\n"
        reply = await leader.ask("/is-leader", listener, headers=extra)
        assert reply.status == 200
        assert not any(name.startswith("access-control") for name in reply.headers)
        for method in ("HEAD", "OPTIONS", "POST", "DELETE"):
            wanted = get if get == 403 else {"HEAD": 200, "OPTIONS": 200}.get(method, 405)
            assert (await leader.ask("/is-leader", listener, method, extra)).status == wanted
