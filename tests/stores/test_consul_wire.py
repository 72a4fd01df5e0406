"""Consul's wire shapes: what is believed, what is refused, what is shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderd.election.problems import Reason
from leaderd.stores.consul import wire
from leaderd.stores.consul.session import backoff_s, following

SESSION = "a344e864-66e7-55ea-4fed-8c4cee176294"
KEY = "p/e/.lock"


def record(value: str | None = "aQ==", session: str = "", flags: int = wire.LOCK_FLAGS, index: int = 7) -> wire.Record:
    return wire.Record(KEY, flags, index, value, session)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_keys_lie_where_consul_lock_looks_for_them() -> None:
    assert wire.Keys("a/b").lock("e") == "a/b/e/.lock"
    assert wire.Keys("").lock("e") == "e/.lock"
    assert wire.Keys("a/b").mark("e") == "a/b/.leaderd/e/mark"
    assert wire.Keys("").mark("e") == ".leaderd/e/mark"


def test_the_flag_is_that_of_the_go_api() -> None:
    assert wire.LOCK_FLAGS == 3304740253564472344
    for op in (wire.lock(KEY, SESSION, "i"), wire.unlock(KEY, SESSION, "i")):
        assert op["KV"]["Flags"] == wire.LOCK_FLAGS


def test_a_transaction_names_what_was_refused() -> None:
    body = {"Results": None, "Errors": [{"OpIndex": 1, "What": f'failed to lock key "{KEY}" due to lock delay'}]}
    txn = wire.read_txn(json.dumps(body).encode())
    assert not txn.ok
    assert txn.delayed
    assert not txn.denied
    assert not txn.sessionless
    assert txn.places() == {1}


@pytest.mark.parametrize("what", ["Permission denied", "Permission denied: token with AccessorID 'x' lacks permission 'key:write'"])
def test_an_access_rule_is_told_from_a_lost_lock(what: str) -> None:
    assert wire.read_txn(json.dumps({"Errors": [{"OpIndex": 0, "What": what}]}).encode()).denied


def test_a_missing_session_is_told_from_a_held_lock() -> None:
    assert wire.read_txn(json.dumps({"Errors": [{"OpIndex": 1, "What": f'invalid session "{SESSION}"'}]}).encode()).sessionless


def test_a_transaction_shows_keys_as_it_left_them() -> None:
    kv: dict[str, Any] = {"LockIndex": 1, "Key": KEY, "Flags": 1, "Value": None, "CreateIndex": 3, "ModifyIndex": 3}
    body = {"Results": [{"KV": kv}, {"KV": kv | {"ModifyIndex": 4, "Session": SESSION}}], "Errors": None}
    found = wire.read_txn(json.dumps(body).encode()).find(KEY)
    assert found is not None
    assert (found.modify_index, found.session) == (4, SESSION)


GARBAGE = [
    b"",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"<html>",
    b"\xff\xfe",
    b'{"Results":3}',
    b'{"Errors":[{}]}',
    b"[" * 5000,
    b'[{"Key":1}]',
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_no_transaction(body: bytes) -> None:
    with pytest.raises(wire.Garbled):
        wire.read_txn(body)


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_no_key(body: bytes) -> None:
    with pytest.raises(wire.Garbled):
        wire.read_key(body, KEY)


@pytest.mark.parametrize(
    "body", [b"", b"true", b"{}", b'{"ID":"x"}', b'{"ID":"../../../../../../../../../../../../etc/xx"}', b'{"ID":7}']
)
def test_garbage_is_no_new_session(body: bytes) -> None:
    with pytest.raises(wire.Garbled):
        wire.read_created(body)


def test_another_key_or_session_is_not_believed() -> None:
    other = [{"Key": "other", "Flags": 0, "ModifyIndex": 1, "Value": None}]
    with pytest.raises(wire.Garbled):
        wire.read_key(json.dumps(other).encode(), KEY)
    with pytest.raises(wire.Garbled):
        wire.read_session(json.dumps([{"ID": "x"}]).encode(), SESSION)
    assert wire.read_session(b"[]", SESSION) is None
    assert wire.read_session(b"null", SESSION) is None


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_readers(body: bytes) -> None:
    for read in (wire.read_txn, lambda b: wire.read_key(b, KEY), lambda b: wire.read_session(b, SESSION), wire.read_created):
        try:
            read(body)
        except wire.Garbled:
            pass


@given(st.one_of(st.none(), st.text(max_size=400)))
def test_no_value_crashes_what_shows_it(value: str | None) -> None:
    shown = wire.read_instance(record(value))
    assert len(shown) <= wire.MAX_INSTANCE
    assert shown.isprintable() or "\N{REPLACEMENT CHARACTER}" in shown
    try:
        wire.read_mark(record(value))
    except wire.BadMark:
        pass


def test_names_of_others_are_shown_on_one_line() -> None:
    assert wire.read_instance(record(b64(b"pod\x1b[2J\n" + b"x" * 500))).startswith(
        "pod\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}xx"
    )
    assert wire.read_instance(record(b64("größe".encode()))) == "größe"
    assert wire.read_instance(record(None)) == ""


def test_marks_are_twenty_digits() -> None:
    op = wire.write_mark("m", wire.Mark(5, 11), 42)["KV"]
    assert base64.b64decode(op["Value"]) == b"00000000000000000042"
    assert (op["Verb"], op["Index"]) == ("cas", 11)
    assert wire.read_mark(record(op["Value"], index=12)) == wire.Mark(42, 12)
    assert wire.read_mark(None) == wire.Mark(0, 0)


def test_a_lifted_mark_is_its_number_or_its_index() -> None:
    op = wire.lift_mark("m", wire.Mark(5, 11))["KV"]
    assert base64.b64decode(op["Value"]) == b"00000000000000000005+"
    assert (op["Verb"], op["Index"]) == ("cas", 11)
    assert wire.read_mark(record(op["Value"], index=12)) == wire.Mark(12, 12)
    assert wire.read_mark(record(op["Value"], index=12), own=12) == wire.Mark(5, 12)
    assert wire.read_mark(record(op["Value"], index=3)) == wire.Mark(5, 3)  # brought here from a store with higher indexes
    assert wire.read_mark(record(op["Value"], index=13), own=12) == wire.Mark(13, 13)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1" * 21, "٣", "0x10", " 7", "+", "+7", "7++", "7+ "])
def test_a_mark_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(wire.BadMark):
        wire.read_mark(record(b64(text.encode())))


def test_a_key_that_is_no_lock_is_foreign_unless_we_hold_it() -> None:
    assert wire.foreign(None, SESSION) is None
    assert wire.foreign(record(), SESSION) is None
    assert wire.foreign(record(flags=0, session=SESSION), SESSION) is None
    semaphore = wire.foreign(record(flags=0xE0F69A2BAA414DE0, session="x"), SESSION)
    assert semaphore is not None
    assert semaphore.reason is Reason.FOREIGN_ENTRY
    assert KEY in semaphore.detail


def test_the_holder_and_we_are_the_contenders() -> None:
    assert [c.own for c in wire.contenders(None, SESSION, "us")] == [True]
    assert [(c.instance, c.own) for c in wire.contenders(record(b64(b"them"), "x"), SESSION, "us")] == [
        ("them", False),
        ("us", True),
    ]
    mine = wire.contenders(record(b64(b"us"), SESSION), SESSION, "us")
    assert [(c.instance, c.own, c.token) for c in mine] == [("us", True, 7)]
    # A twin of the same name is not ourselves (I5).
    assert [c.own for c in wire.contenders(record(b64(b"us"), "x"), SESSION, "us")] == [False, True]


def test_an_index_that_went_backwards_is_forgotten() -> None:
    assert following(10, 12) == 12
    assert following(10, 10) == 10
    assert following(10, 4) == 0


def test_back_off_grows_to_its_bound() -> None:
    assert 0.1 <= backoff_s(1) <= 0.2
    assert all(1.0 <= backoff_s(n) <= 2.0 for n in range(5, 200))
