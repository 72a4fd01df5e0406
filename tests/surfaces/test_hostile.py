"""Hostile bytes over a raw connection: each gets a 4xx (or 505) problem object, the end of the connection, and one log line."""

from __future__ import annotations

import logging
import os

import pytest

from leaderd.surfaces.http import pool as pool_module
from tests.surfaces.rig import Reply, Rig

H = b"Host: localhost\r\n"
GET = b"GET /is-leader HTTP/1.1\r\n"


def request(*lines: bytes, first: bytes = GET) -> bytes:
    return first + H + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def line(text: bytes) -> bytes:
    return text + b"\r\n" + H + b"\r\n"


CASES: dict[str, tuple[bytes, int]] = {
    # request line
    "empty line first": (b"\r\n" + request(), 400),
    "two empty lines": (b"\r\n\r\n", 400),
    "line feed first": (b"\n" + request(), 400),
    "http 0.9": (b"GET /is-leader\r\n\r\n", 400),
    "no version": (line(b"GET /is-leader "), 400),
    "no target": (line(b"GET HTTP/1.1"), 400),
    "no method": (line(b" /is-leader HTTP/1.1"), 400),
    "two spaces": (line(b"GET  /is-leader HTTP/1.1"), 400),
    "tab instead of space": (line(b"GET\t/is-leader\tHTTP/1.1"), 400),
    "space in target": (line(b"GET /is leader HTTP/1.1"), 400),
    "space at end": (line(b"GET /is-leader HTTP/1.1 "), 400),
    "method with slash": (line(b"G/T /is-leader HTTP/1.1"), 400),
    "method of 33 letters": (line(b"A" * 33 + b" /is-leader HTTP/1.1"), 400),
    "NUL in target": (line(b"GET /is-leader\0 HTTP/1.1"), 400),
    "DEL in target": (line(b"GET /is-leader\x7f HTTP/1.1"), 400),
    "bad UTF-8 in target": (line(b"GET /\xff\xfe HTTP/1.1"), 400),
    "UTF-8 in target": (line("GET /é HTTP/1.1".encode()), 400),
    "vertical tab": (line(b"GET\x0b/is-leader HTTP/1.1"), 400),
    "lower case http": (line(b"GET /is-leader http/1.1"), 400),
    "version 1": (line(b"GET /is-leader HTTP/1"), 400),
    "version 1.10": (line(b"GET /is-leader HTTP/1.10"), 400),
    "version 1.2": (line(b"GET /is-leader HTTP/1.2"), 505),
    "version 0.9": (line(b"GET /is-leader HTTP/0.9"), 505),
    "version 2.0": (line(b"GET /is-leader HTTP/2.0"), 505),
    "version 9.9": (line(b"GET /is-leader HTTP/9.9"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00", 505),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64), 400),
    "SSLv2 hello": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", 400),
    "PROXY protocol 1": (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + request(), 400),
    "PROXY protocol 2": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\0" * 12, 400),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "gRPC over plain": (b"\x00\x00\x00\x00\x05hello", 400),
    "random bytes": (b"\xde\xad\xbe\xef" * 16, 400),
    # targets
    "absolute form": (line(b"GET http://localhost/is-leader HTTP/1.1"), 400),
    "absolute form, foreign": (line(b"GET http://evil.example/ HTTP/1.1"), 400),
    "absolute form, https": (line(b"GET https://localhost/ HTTP/1.1"), 400),
    "absolute form, file": (line(b"GET file:///etc/passwd HTTP/1.1"), 400),
    "CONNECT": (line(b"CONNECT localhost:22 HTTP/1.1"), 400),
    "CONNECT to a path": (line(b"CONNECT / HTTP/1.1"), 400),
    "no slash": (line(b"GET is-leader HTTP/1.1"), 400),
    "asterisk with GET": (line(b"GET * HTTP/1.1"), 400),
    "query only": (line(b"GET ?promise=1s HTTP/1.1"), 400),
    "fragment": (line(b"GET /is-leader#x HTTP/1.1"), 400),
    "percent at the end": (line(b"GET /is-leader% HTTP/1.1"), 400),
    "percent not hex": (line(b"GET /is-leader%zz HTTP/1.1"), 400),
    "encoded NUL": (line(b"GET /is-leader%00 HTTP/1.1"), 400),
    "encoded CR LF": (line(b"GET /is-leader%0d%0aX:y HTTP/1.1"), 400),
    "encoded slash": (line(b"GET /is-leader%2fx HTTP/1.1"), 400),
    "overlong UTF-8": (line(b"GET /%c0%af HTTP/1.1"), 400),
    "encoded surrogate": (line(b"GET /%ed%a0%80 HTTP/1.1"), 400),
    "encoded bidi override": (line(b"GET /%e2%80%ae HTTP/1.1"), 400),
    # header lines
    "bare LF between headers": (GET + b"Host: localhost\nX: y\r\n\r\n", 400),
    "all LF": (b"GET /is-leader HTTP/1.1\nHost: localhost\n\n", 400),
    "bare CR in a header": (request(b"X: a\rb"), 400),
    "CR CR LF": (GET + b"Host: localhost\r\r\n\r\n", 400),
    "space before the colon": (request(b"X : y"), 400),
    "Host with space before the colon": (GET + b"Host : localhost\r\n\r\n", 400),
    "no colon": (request(b"X"), 400),
    "no name": (request(b": y"), 400),
    "obs-fold with space": (request(b"X: y", b" z"), 400),
    "obs-fold with tab": (request(b"X: y", b"\tz"), 400),
    "fold before any header": (GET + b" X: y\r\n" + H + b"\r\n", 400),
    "NUL in value": (request(b"X: a\0b"), 400),
    "NUL in name": (request(b"X\0: a"), 400),
    "DEL in value": (request(b"X: a\x7f"), 400),
    "escape in value": (request(b"X: \x1b[2J"), 400),
    "bad UTF-8 in value": (request(b"X: \xff"), 400),
    "UTF-8 in name": (request("é: x".encode()), 400),
    "bracket in name": (request(b"X[]: y"), 400),
    "33 headers": (request(*[b"X-%d: y" % n for n in range(32)]), 431),
    "100 headers": (request(*[b"X: y"] * 100), 431),
    # Host
    "no Host": (GET + b"\r\n", 400),
    "two Hosts": (request(b"Host: localhost"), 400),
    "two Hosts in other case": (request(b"hOST: evil.example"), 400),
    "foreign Host": (GET + b"Host: evil.example\r\n\r\n", 421),
    # bodies
    "length with GET": (request(b"Content-Length: 5") + b"hello", 413),
    "chunked with GET": (request(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 413),
    "length with HEAD": (request(b"Content-Length: 1", first=b"HEAD /is-leader HTTP/1.1\r\n") + b"x", 413),
    "length and chunked": (request(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "chunked and length": (request(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n", 400),
    "two lengths": (request(b"Content-Length: 0", b"Content-Length: 5") + b"hello", 400),
    "two equal lengths": (request(b"Content-Length: 5", b"Content-Length: 5") + b"hello", 400),
    "length list": (request(b"Content-Length: 5, 5") + b"hello", 400),
    "negative length": (request(b"Content-Length: -1"), 400),
    "signed length": (request(b"Content-Length: +5"), 400),
    "hexadecimal length": (request(b"Content-Length: 0x5"), 400),
    "empty length": (request(b"Content-Length:"), 400),
    "length with a space in it": (request(b"Content-Length: 1 0"), 400),
    "huge length": (request(b"Content-Length: " + b"9" * 30), 400),
    "length in Arabic digits": (request("Content-Length: ٥".encode()), 400),
    "coding identity": (request(b"Transfer-Encoding: identity"), 400),
    "coding gzip, chunked": (request(b"Transfer-Encoding: gzip, chunked"), 400),
    "coding chunked twice": (request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "coding xchunked": (request(b"Transfer-Encoding: xchunked"), 400),
    "chunked in HTTP/1.0": (b"POST /is-leader HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "smuggled second request": (request(b"Content-Length: 43") + b"GET /v1/elections HTTP/1.1\r\nHost: localhost\r\n", 413),
    "POST with a body": (request(b"Content-Length: 5", first=b"POST /is-leader HTTP/1.1\r\n") + b"hello", 405),
    "POST announcing an endless body": (request(b"Transfer-Encoding: chunked", first=b"POST /is-leader HTTP/1.1\r\n"), 405),
    "POST expecting 100": (request(b"Expect: 100-continue", b"Content-Length: 9", first=b"POST /nope HTTP/1.1\r\n"), 404),
    "unknown expectation": (request(b"Expect: 200-maybe"), 417),
    # sizes
    "line of 9 kB": (line(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "endless line": (b"GET /" + b"a" * 60_000, 414),
    "header of 9 kB": (request(b"X: " + b"a" * 9000), 431),
    "header of 20 kB": (request(b"X: " + b"a" * 20_000), 431),
    "endless headers": (GET + H + b"X: y\r\n" * 8000, 431),
    "query of 20 kB": (line(b"GET /is-leader?" + b"a=b&" * 5000 + b" HTTP/1.1"), 414),
}  # fmt: skip


@pytest.fixture(autouse=True)
def every_refusal_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_LOG_EVERY_S", 0.0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("listener", ["app", "socket"])
async def test_hostile(leader: Rig, caplog: pytest.LogCaptureFixture, listener: str, name: str) -> None:
    data, status = CASES[name]
    if listener == "socket" and name == "foreign Host":
        status = 200
    caplog.set_level(logging.INFO)
    wire = await leader.connect(listener)
    wire.send(data)
    head_only = data.startswith(b"HEAD")
    reply = await wire.reply(head_only)
    if status == 200:
        return
    assert reply.status == status
    assert reply.headers["connection"] == "close"
    if not head_only:
        reply.problem()
    # Whatever follows is not taken for another request.
    assert await wire.rest() == b""
    check_log(caplog)
    assert leader.promised() == []
    assert (await leader.ask("/livez")).status == 200


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    assert len(caplog.records) <= 1
    for record in caplog.records:
        assert record.name == "leaderd.http"
        assert record.exc_info is None
        assert record.getMessage().isprintable()


@pytest.mark.parametrize("name", ["header of 20 kB", "TLS hello", "two lengths", "bare LF between headers"])
async def test_hostile_byte_by_byte(leader: Rig, name: str) -> None:
    """The same in small pieces: where a piece ends makes no difference."""
    data, status = CASES[name]
    wire = await leader.connect()
    step = 1 if len(data) < 500 else 700
    for start in range(0, len(data), step):
        wire.send(data[start : start + step])
        await wire.writer.drain()
    assert (await wire.reply()).status == status


async def test_a_refusal_answers_what_came_before_it(leader: Rig) -> None:
    wire = await leader.connect()
    wire.send(request() + request(b"X : y") + request())
    replies: list[Reply] = [await wire.reply(), await wire.reply()]
    assert [reply.status for reply in replies] == [200, 400]
    assert await wire.rest() == b""


async def test_a_flood_of_bad_requests_is_one_log_line(
    leader: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_LOG_EVERY_S", 10.0)
    caplog.set_level(logging.INFO)
    for _ in range(30):
        await leader.ask("/is-leader", headers="Host: evil.example\r\n")
    assert len(caplog.records) == 1
    leader.clock.boot_s += 10.0
    await leader.ask("/is-leader", headers="Host: evil.example\r\n")
    assert len(caplog.records) == 2
    assert caplog.records[1].__dict__["fields"]["not_logged_before"] == 29


async def test_a_fault_of_ours_is_a_500_without_a_word_about_it(leader: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def broken() -> bytes:
        raise RuntimeError("secret")

    leader.metrics.render = broken  # type: ignore[method-assign]
    reply = await leader.ask("/metrics")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].exc_info is None
    assert (await leader.ask("/is-leader")).status == 200
