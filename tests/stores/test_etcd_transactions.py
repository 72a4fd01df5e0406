"""Keys, marks, names and transactions of the etcd recipe, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderd.stores import marks
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.wire import Compare, Found, Get, Header, KeyValue, Put, Txn, TxnReply

HEADER = Header(1, 1, 10, 2)
PLACE = tx.place_of("team/prod", "daily")


@pytest.mark.parametrize(
    ("path", "prefix", "mark"),
    [
        ("", b"daily/", b".leaderd/daily/mark"),
        ("p", b"p/daily/", b"p/.leaderd/daily/mark"),
        ("p/q", b"p/q/daily/", b"p/q/.leaderd/daily/mark"),
    ],
)
def test_our_records_lie_beside_the_place(path: str, prefix: bytes, mark: bytes) -> None:
    place = tx.place_of(path, "daily")
    assert (place.prefix, place.mark) == (prefix, mark)
    assert not place.prefix <= place.mark < place.end


def test_keys_are_those_of_the_go_concurrency_package() -> None:
    assert PLACE.key(0x694D71DDACFDA227) == b"team/prod/daily/694d71ddacfda227"
    assert PLACE.key(0xA) == b"team/prod/daily/a"  # "%x": lower case, not padded


def test_the_range_holds_the_place_and_nothing_else() -> None:
    inside = [b"team/prod/daily/", b"team/prod/daily/0", b"team/prod/daily/ff", b"team/prod/daily/sub/1", b"team/prod/daily/\xff"]
    outside = [b"team/prod/daily", b"team/prod/daily-2/1", b"team/prod/daily2/1", b"team/prod/.leaderd/daily/mark"]
    assert all(PLACE.prefix <= key < PLACE.end for key in inside)
    assert not any(PLACE.prefix <= key < PLACE.end for key in outside)


@given(st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1))
def test_marks_compare_as_numbers(one: int, other: int) -> None:
    for text in (marks.mark_text, marks.ready_text):
        assert (text(one) < marks.mark_text(other)) == (one < other)
        assert (marks.mark_text(one) < text(other)) == (one < other or (one == other and text is marks.ready_text))
        assert marks.parse_mark(text(one)) == one


@pytest.mark.parametrize(
    "text",
    [b"", b"7", b"0" * 19, b"0" * 21, b"-" + b"0" * 19, b" " * 20, "٣".encode() * 10, b"1" * 19 + b"\n", b"1" * 20 + b" readily"],
)
def test_anything_else_is_no_mark(text: bytes) -> None:
    assert marks.parse_mark(text) is None


@given(st.binary(max_size=3000))
def test_names_are_safe_to_show(value: bytes) -> None:
    name = tx.name_text(value)
    assert len(name) <= 255
    assert name.isprintable()


def test_plain_names_are_shown_as_they_are() -> None:
    assert tx.name_text("pod-7 ü".encode()) == "pod-7 ü"


@pytest.mark.parametrize(
    ("suffix", "lease", "is_foreign"),
    [
        (b"1f", 0x1F, False),
        (b"1f", 0, True),
        (b"1F", 5, True),
        (b"x", 5, True),
        (b"", 5, True),
        (b"1/2", 5, True),
        (b"0" * 17, 5, True),
    ],
)
def test_foreign_entries(suffix: bytes, lease: int, is_foreign: bool) -> None:
    assert (tx.foreign(PLACE, KeyValue(PLACE.prefix + suffix, 3, 3, lease)) is not None) == is_foreign


def test_a_claim_compares_everything_at_once() -> None:
    claim = tx.claim(PLACE, 0x1F, 42)
    own = PLACE.key(0x1F)
    assert set(claim.compares) == {
        Compare(own, "create", "=", 42),
        Compare(own, "lease", "=", 0x1F),
        Compare(PLACE.prefix, "create", ">", 41, PLACE.end),
        Compare(PLACE.mark, "value", "<", b"%020d" % 43),
        Compare(PLACE.mark, "value", "!=", b"%020d" % 42),
    }
    assert claim.success[0] == Put(PLACE.mark, b"%020d" % 42)
    assert all(isinstance(op, Get) for op in claim.failure)


def test_a_withdrawal_compares_lease_and_token() -> None:
    own = PLACE.key(1)
    assert tx.withdraw(PLACE, 1, 42).compares == (Compare(own, "lease", "=", 1), Compare(own, "create", "=", 42))


def test_who_is_older() -> None:
    kvs = tuple(KeyValue(b"k%d" % n, n, n, n) for n in (9, 8, 7))
    assert tx.older_in(Found(()), 10) == tx.Older((), True, 10)
    assert tx.older_in(Found(kvs[:2]), 10).complete
    assert not tx.older_in(Found(kvs[:2], more=True), 10).complete
    assert tx.older_in(Found(kvs), 10) == tx.Older(kvs[:2], False, 10)  # a limit that was not kept


def reply_to_stand(own: Found, mark: Found, newest: Found) -> TxnReply:
    return TxnReply(HEADER, True, (None, None, mark, own, newest, Found(())))


def test_what_standing_saw() -> None:
    own, old = KeyValue(PLACE.key(1), 9, 9, 1), KeyValue(PLACE.key(2), 8, 8, 2)
    mark = Found((KeyValue(PLACE.mark, 1, 1, 0, marks.mark_text(3)),))
    seen = tx.stood(reply_to_stand(Found((own,)), mark, Found((own, old))))
    assert seen is not None
    assert seen.older == tx.Older((old,), True, 10)
    seen = tx.stood(reply_to_stand(Found((own,)), mark, Found((old, own))))
    assert seen is not None
    assert seen.older is None
    assert tx.stood(reply_to_stand(Found(()), mark, Found((old,)))) is None
    assert tx.stood(reply_to_stand(Found((own,)), Found(()), Found((own,)))) is None
    assert tx.stood(reply_to_stand(Found((KeyValue(PLACE.key(1), -1, 9, 1),)), mark, Found((own,)))) is None


def answer(txn: Txn) -> TxnReply:
    """An empty answer in the shape of the request."""
    return TxnReply(HEADER, True, tuple(answer(op) if isinstance(op, Txn) else Found(()) for op in txn.success))


@pytest.mark.parametrize("count", [0, 1, 60, 100, 101, 3000])
def test_a_check_is_one_transaction_within_etcds_limits(count: int) -> None:
    check = tx.Check(tuple(b"k%d" % n for n in range(count)), (), PLACE if count else None)
    txn = check.txn(PLACE.mark)
    assert len(txn.success) <= 128
    for op in txn.success:
        assert isinstance(op, Get) or len(op.success) <= 128 - len(txn.success)  # type: ignore[union-attr]
    assert len(check.results(answer(txn))) == max(1, count + (1 if count else 0))


def test_a_small_check_is_made_of_reads_alone() -> None:
    txn = tx.Check((b"a",), ((PLACE, 7),), PLACE).txn(PLACE.mark)
    assert txn.compares == ()
    assert all(isinstance(op, Get) for op in txn.success)
