"""Heads of requests: what is understood, and that nothing else gets through, whatever the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderd.surfaces.http.wire import MAX_HEADERS, Refusal, Request, decode_percent, fault_in_part, parse_head

HOST = b"\r\nHost: localhost"


def test_a_request() -> None:
    request = parse_head(b"GET /is-leader/a%2Db?x=%20&y HTTP/1.1\r\nHost:localhost\r\nACCEPT: \t a/b \t\r\nAccept: c/d\r\nEmpty:")
    assert (request.method, request.path, request.query, request.minor) == ("GET", "/is-leader/a-b", "x=%20&y", 1)
    assert request.headers == {"host": "localhost", "accept": "a/b, c/d", "empty": ""}
    assert request.keep_alive
    assert not request.has_body


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"GET / HTTP/1.1\r\nHost: x", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, CLOSE", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo\r\nConnection: close", False),
        # What Java's client sends: an offer to change to HTTP/2, which is declined by not being taken.
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 0", True),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close", False),
    ],
)
def test_keep_alive(head: bytes, keep: bool) -> None:
    assert parse_head(head).keep_alive is keep


@pytest.mark.parametrize(
    "text", ["%", "%4", "%zz", "%2f", "%2F", "%00", "%0a", "%7f", "%80", "%ff", "%c3%28", "%ed%a0%80", "%e2%80%ae"]
)
def test_percent_codes_that_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        decode_percent(text, "it")


def test_percent_codes_that_are_not() -> None:
    assert decode_percent("a%41%c3%a9%25", "it") == "aA\u00e9%"


@pytest.mark.parametrize(
    "part", [b"G", b"GET", b"GET ", b"GET / HT", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: x\r\nAcc", b"A" * 32]
)
def test_the_beginning_of_a_request_is_waited_for(part: bytes) -> None:
    assert fault_in_part(part) is None


@pytest.mark.parametrize(
    "part", [b"\x16\x03\x01\x02\x00\x01", b"\n", b"\r\n", b" GET", b"GET / HTTP/1.1\n", b"GET\rX", b"A" * 33, b"\0", b"\xff"]
)
def test_what_cannot_become_one_is_not(part: bytes) -> None:
    refusal = fault_in_part(part)
    assert refusal is not None
    assert refusal.status == 400


ROUGH = st.sampled_from(
    b"GET|POST| |/|/is-leader|?|promise=1s|%|HTTP/1.1|HTTP/1.0|\r\n|\r|\n|:|Host|Content-Length|Transfer-Encoding|chunked|0|5"
    b"|\t|\0|\xff|localhost|Connection|close|Expect|*|#|http://".split(b"|")
)


def parsed(head: bytes) -> Request | Refusal:
    try:
        return parse_head(head)
    except Refusal as refusal:
        return refusal


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(ROUGH, max_size=25).map(b"".join)))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    for head in (data, b"GET / HTTP/1.1" + HOST + b"\r\n" + data, b"GET /" + data + b" HTTP/1.1" + HOST):
        outcome = parsed(head)
        if isinstance(outcome, Refusal):
            assert 400 <= outcome.status < 600
            assert outcome.detail.isprintable()
            continue
        request = outcome
        assert request.path.isprintable()
        assert len(request.headers) <= MAX_HEADERS
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert not any(c in value for value in request.headers.values() for c in "\r\n\0")
    fault_in_part(data)
