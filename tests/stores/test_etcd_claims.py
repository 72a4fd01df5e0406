"""The etcd recipe against a small etcd in memory: who claims, and each answer that could make two leaders."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Claim, Stand
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    QueueSeen,
    SessionGone,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.etcd.wire import KeyValue
from tests.stores.etcd_support import CLOCK, MARK, MiniDriver, MiniEtcd, lose_answer, own_key


async def test_first_come_first_led(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c:
        tokens = []
        for driver in (a, b, c):
            await driver.open()
            tokens.append(await driver.stand())
        assert tokens == sorted(tokens)
        await a.claim()
        assert etcd.names("p/e/") == ["a", "b", "c"]
        assert etcd.keys[MARK.encode()].value == b"%020d" % tokens[0]
        await a.withdraw(tokens[0])
        elected = await b.expect(Elected)
        assert elected.token == tokens[1]
        assert elected.mark < elected.token
        b.submit(Claim(1, "e", elected.token, elected.mark))
        claimed = await b.expect(Claimed)
        assert claimed.sent_at_s <= CLOCK.now_s()
        assert not any(isinstance(e, Elected) for e in c.events)


async def test_a_deleted_predecessor_in_the_middle_elects_nobody(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c, MiniDriver(etcd, "d") as d:
        for driver in (a, b, c, d):
            await driver.open()
            await driver.stand()
        await a.claim()
        await d.expect(QueueSeen)
        asked = len(d.wire.txns)
        for name in ("c", "b"):
            etcd.delete(own_key(etcd, name))
        await b.expect(EntryGone)
        await c.expect(EntryGone)
        await d.until(lambda: len(d.wire.txns) > asked)  # both that were known are gone: it reads again
        etcd.delete(own_key(etcd, "a"))
        await d.expect(Elected)
        assert sum(isinstance(e, Elected) for e in d.events) == 1


async def test_one_older_entry_needs_no_second_read(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        token = await a.lead()
        await b.open()
        await b.stand()
        await b.expect(QueueSeen)
        before = list(b.wire.calls)
        await a.withdraw(token)
        await b.expect(Elected)
        assert [c for c in b.wire.calls if c != "watch"] == [c for c in before if c != "watch"]


async def test_a_claim_on_an_expired_lease_fails(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        await b.open()
        await b.stand()  # behind a, so that without a's entry every other is younger than a's token
        await a.until(lambda: len(etcd.streams) == 2)
        etcd.streams.clear()  # no watch tells a
        etcd.revoke(next(iter(etcd.leases)))
        a.submit(Claim(1, "e", elected.token, elected.mark))
        await a.expect(EntryGone, Claimed)
        await a.expect(SessionGone)
        assert not any(isinstance(e, Claimed) for e in a.events)


async def test_a_claim_on_an_entry_without_our_lease_fails(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        await a.until(lambda: bool(etcd.streams))
        etcd.streams.clear()
        etcd.put(own_key(etcd, "a"), "a")  # no lease any more, the same create revision
        a.submit(Claim(1, "e", elected.token, elected.mark))
        assert isinstance(await a.expect(EntryGone, Claimed), EntryGone)


async def test_a_claim_on_an_entry_created_anew_fails(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        await a.until(lambda: bool(etcd.streams))
        etcd.streams.clear()
        key = own_key(etcd, "a")
        etcd.delete(key)
        etcd.put(key, "a", lease=next(iter(etcd.leases)))
        a.submit(Claim(1, "e", elected.token, elected.mark))
        assert isinstance(await a.expect(EntryGone, Claimed), EntryGone)


async def test_a_claim_refuses_a_mark_that_moved(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        etcd.put(MARK, f"{elected.token + 5:020d}")
        a.submit(Claim(1, "e", elected.token, elected.mark))
        again = await a.expect(Elected, Claimed)
        assert again == Elected(1, "e", elected.token, elected.token + 5)


async def test_a_claim_refuses_its_own_token_as_somebody_elses_mark(etcd: MiniEtcd) -> None:
    """A restored store may give a revision again that was a leader's token before: whoever knows of it says so."""
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        etcd.put(MARK, f"{elected.token:020d}")
        a.submit(Claim(1, "e", elected.token, elected.mark))
        again = await a.expect(Elected, Claimed)
        assert again == Elected(1, "e", elected.token, elected.token)


async def test_a_claim_refuses_when_an_older_entry_appears(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        etcd.keys[b"p/e/aa"] = KeyValue(b"p/e/aa", 1, 1, 0x999, b"restored")
        a.submit(Claim(1, "e", elected.token, elected.mark))
        failed = await a.expect(StandFailed)
        assert failed.problem.reason is Reason.STORE_ERROR
        assert "a" not in etcd.names("p/e/")


async def test_a_mark_below_the_token_may_move_under_a_waiting_claim(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.stand()
        elected = await a.expect(Elected)
        etcd.put(MARK, f"{token - 1:020d}")
        a.submit(Claim(1, "e", elected.token, elected.mark))
        await a.expect(Claimed)


async def test_an_unanswered_claim_is_unknown_and_stands_anew_with_a_new_token(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.stand()
        elected = await a.expect(Elected)
        a.wire.after["txn"] = lose_answer
        a.submit(Claim(1, "e", elected.token, elected.mark))
        failed = await a.expect(StandFailed)
        assert failed.problem.outcome is Outcome.UNKNOWN
        assert (await a.withdraw(None)).problem is None
        assert await a.lead() > token


@pytest.mark.parametrize("value", ["7", "x" * 20, "", "9" * 21])
async def test_a_malformed_mark_is_foreign(etcd: MiniEtcd, value: str) -> None:
    etcd.put(MARK, value)
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.submit(Stand(1, "e"))
        failed = await a.expect(StandFailed)
        assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
        assert MARK in failed.problem.detail
        assert etcd.names("p/e/") == []
        etcd.put(MARK, f"{3:020d}")
        await a.lead()


async def test_a_mark_damaged_or_deleted_before_the_claim(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        for damage, reason in (
            (lambda: etcd.put(MARK, "zz"), Reason.FOREIGN_ENTRY),
            (lambda: etcd.delete(MARK), Reason.STORE_ERROR),
        ):
            etcd.delete(MARK)
            await a.stand()
            elected = await a.expect(Elected)
            damage()
            a.submit(Claim(1, "e", elected.token, elected.mark))
            failed = await a.expect(StandFailed)
            assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, reason)


@pytest.mark.parametrize("key", ["p/e/1234", "p/e/not-a-lease", "p/e/sub/12"])
async def test_an_older_foreign_key_is_named_and_left_alone(etcd: MiniEtcd, key: str) -> None:
    etcd.put(key, "x", lease=0 if key == "p/e/1234" else etcd.grant(9))
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.submit(Stand(1, "e"))
        failed = await a.expect(StandFailed)
        assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
        assert key in failed.problem.detail
        assert etcd.names("p/e/") == ["x"]
        etcd.delete(key)
        await a.lead()


async def test_a_predecessor_that_loses_its_lease_is_foreign_from_then_on(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        await a.lead()
        await b.open()
        token = await b.stand()
        etcd.put(own_key(etcd, "a"), "overwritten")
        assert (await a.expect(EntryGone)).problem.reason is Reason.ENTRY_GONE
        await b.renew(token)
        assert (await b.expect(StandFailed)).problem.reason is Reason.FOREIGN_ENTRY
        assert etcd.names("p/e/") == ["overwritten"]
