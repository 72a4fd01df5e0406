"""The etcd recipe against a small etcd in memory: each answer that could make two leaders, or stall a candidate, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd.election.commands import Claim, CloseSession, Entry, OpenSession, RaiseMark, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Connected,
    Contender,
    Disconnected,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials
from leaderd.stores.etcd.wire import Delete, Found, KeyValue, Put, Txn, WireError
from tests.stores.etcd_support import CLOCK, MiniDriver, MiniEtcd, MiniWire

MARK = "p/.leaderd/e/mark"


@pytest.fixture
def etcd() -> MiniEtcd:
    return MiniEtcd()


def refuse(code: str, message: str = "") -> Callable[[], None]:
    def before() -> None:
        raise WireError(code, message, "mini")

    return before


def lose_answer(answer: Any) -> Any:
    raise WireError("DEADLINE_EXCEEDED", "", "mini")


def own_key(etcd: MiniEtcd, name: str) -> str:
    return next(kv.key.decode() for kv in etcd.keys.values() if kv.value == name.encode())


# ---- queue and claim


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


async def test_an_ambiguous_stand_recovers_its_own_entry(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        a.wire.after["txn"] = lose_answer
        a.submit(Stand(1, "e"))
        token = (await a.expect(Queued)).token  # the repetition on a fresh connection finds the entry
        assert etcd.names("p/e/") == ["a"]
        await a.claim()
        await b.open()
        await b.stand()
        assert etcd.keys[own_key(etcd, "a").encode()].create_revision == token


async def test_a_recovered_entry_behind_others_reads_who_is_older(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c:
        for driver in (a, b, c):
            await driver.open()
            await driver.stand()
        b.submit(Stand(1, "e"))  # once more: its entry is there already, and not the newest
        await b.expect(Queued)
        await a.claim()
        assert not any(isinstance(e, Elected) for e in b.events)
        etcd.delete(own_key(etcd, "a"))
        await b.expect(Elected)


async def test_a_stand_that_never_gets_an_answer_is_unknown(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        a.prepare = lambda wire: wire.after.update(txn=lose_answer)
        await a.open()
        a.submit(Stand(1, "e"))
        assert (await a.expect(StandFailed)).problem.outcome is Outcome.UNKNOWN
        withdrawn = await a.withdraw(None)
        assert withdrawn.problem is not None
        assert withdrawn.problem.outcome is Outcome.UNKNOWN, "it may still be there: the core withdraws again"


async def test_an_attempt_without_answer_keeps_a_later_refusal_unknown(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.wire.after["txn"] = lose_answer
        a.prepare = lambda wire: wire.before.update(txn=refuse("UNAVAILABLE", "failed to connect to all addresses"))
        a.submit(Stand(1, "e"))
        assert (await a.expect(StandFailed)).problem.outcome is Outcome.UNKNOWN


async def test_a_refused_stand_leaves_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.wire.before["txn"] = refuse("PERMISSION_DENIED", "etcdserver: permission denied")
        a.submit(Stand(1, "e"))
        problem = (await a.expect(StandFailed)).problem
        assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.PERMISSION_DENIED)


async def test_withdraw_takes_out_only_our_own_entry(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        key = own_key(etcd, "a")
        etcd.delete(key)
        etcd.put(key, "somebody", lease=etcd.grant(9))
        assert (await a.withdraw(token)).problem is None
        assert (await a.withdraw(None)).problem is None
        etcd.put(key, "somebody")  # in our own place, without a lease
        assert (await a.withdraw(None)).problem is None
        assert etcd.names("p/e/") == ["somebody"]


async def test_a_late_withdraw_spares_our_own_newer_entry(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        old = await a.lead()
        await a.withdraw(old)
        await a.lead()
        await a.withdraw(old)
        assert etcd.names("p/e/") == ["a"]


async def test_our_own_withdrawal_is_not_reported_as_a_loss(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.withdraw(await a.lead())
        await a.renew()
        assert not any(isinstance(e, EntryGone) for e in a.events)


async def test_a_new_value_in_our_entry_is_no_loss(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        key = own_key(etcd, "a")
        etcd.put(key, "proclaimed", lease=int(key.rpartition("/")[2], 16))
        renewed = await a.renew(token)
        assert renewed.owned == {"e"}
        assert not any(isinstance(e, EntryGone) for e in a.events)


async def test_raise_mark_raises_and_never_lowers(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        for mark, held in ((5, 5), (3, 5), (9, 9)):
            a.submit(RaiseMark(1, "e", mark))
            count = len(a.wire.txns)
            await a.renew()
            assert len(a.wire.txns) > count
            assert etcd.keys[MARK.encode()].value == b"%020d" % held


# ---- watches


async def test_a_broken_stream_means_nothing_and_loses_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        token = await a.lead()
        await b.open()
        await b.stand()
        await b.until(lambda: len(etcd.streams) == 2)
        stream = etcd.streams[-1]
        etcd.streams.remove(stream)
        await a.withdraw(token)  # nobody tells b
        stream.break_off()
        await b.expect(Elected)
        assert not any(isinstance(e, Disconnected) for e in b.events)


async def test_a_compacted_past_is_read_again(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        token = await a.lead()
        await b.open()
        mine = await b.stand()
        await b.until(lambda: len(etcd.streams) == 2)
        stream = etcd.streams[-1]
        etcd.streams.remove(stream)
        await a.withdraw(token)
        etcd.put("other", "x")
        etcd.compacted = etcd.revision
        stream.break_off()
        await b.claim()
        assert (await b.renew(mine)).owned == {"e"}
        etcd.delete(own_key(etcd, "b"))
        await b.expect(EntryGone)


async def test_a_stuck_stream_is_made_good_by_the_renewals(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        token = await a.lead()
        await b.open()
        mine = await b.stand()
        await b.until(lambda: len(etcd.streams) == 2)
        etcd.streams.pop()
        await a.withdraw(token)
        await b.renew(mine)
        await b.expect(Elected)


async def test_a_store_away_is_told_once_and_its_return_too(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        await a.until(lambda: bool(etcd.streams))

        def away(wire: MiniWire) -> None:
            wire.before.update(
                txn=refuse("UNAVAILABLE", "failed to connect"), keep_alive=refuse("UNAVAILABLE", "failed to connect")
            )

        a.prepare = away
        away(a.wire)
        for _ in range(3):
            a.renew_soon(token)
            assert (await a.expect(RenewFailed)).problem.reason is Reason.STORE_UNREACHABLE
        a.prepare = lambda wire: None
        await a.until(lambda: (a.renew_soon(token), any(isinstance(e, Connected) for e in a.events))[1])
        assert sum(isinstance(e, Disconnected) for e in a.events) == 1


async def test_a_refused_watch_is_asked_for_in_moderation(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        etcd.refusal = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        token = await a.lead()
        await a.until(lambda: a.wire.calls.count("watch") >= 3)
        tries = a.wire.calls.count("watch")
        begun_s = CLOCK.now_s()
        await a.until(lambda: CLOCK.now_s() - begun_s > 0.5)
        assert a.wire.calls.count("watch") - tries <= 5
        assert (await a.renew(token)).owned == {"e"}
        etcd.refusal = ""
        await a.until(lambda: bool(etcd.streams) and etcd.streams[-1].watching)
        etcd.delete(own_key(etcd, "a"))
        await a.expect(EntryGone)


# ---- renewals


async def test_a_renewal_proves_each_entry(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        tokens = {name: await a.lead(name) for name in ("e", "f", "g")}
        etcd.streams.clear()
        etcd.delete(f"p/f/{next(iter(etcd.leases)):x}")
        asked = len(a.wire.calls)
        sent_s = CLOCK.now_s()
        a.submit(Renew(1, (*(Entry(n, t) for n, t in tokens.items()), Entry("h", 99))))
        renewed = await a.expect(Renewed)
        assert (renewed.owned, renewed.lost) == ({"e", "g"}, {"f", "h"})
        assert sent_s <= renewed.sent_at_s <= CLOCK.now_s()
        assert sorted(a.wire.calls[asked:]) == ["keep_alive", "txn"]


async def test_a_renewal_proves_lease_and_token(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        assert (await a.renew(token - 1)).lost == {"e"}
        assert (await a.renew(token)).owned == {"e"}
        await a.until(lambda: bool(etcd.streams))
        etcd.streams.clear()
        etcd.put(own_key(etcd, "a"), "a")  # the same key, the same name, the same token: but no lease holds it any more
        assert (await a.renew(token)).lost == {"e"}


async def test_a_renewal_is_dated_before_its_first_byte(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        sent: list[float] = []
        for name in ("keep_alive", "txn"):
            a.wire.before[name] = lambda: sent.append(CLOCK.now_s())
        first = await a.renew(token)
        assert first.sent_at_s <= min(sent)
        sent.clear()
        elected = await a.stand("f"), await a.expect(Elected)
        sent.clear()
        a.submit(Claim(1, "f", elected[1].token, elected[1].mark))
        assert (await a.expect(Claimed)).sent_at_s <= min(sent)


async def test_two_raft_terms_prove_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        a.wire.after["keep_alive"] = lambda r: replace(r, header=replace(r.header, raft_term=1))
        a.renew_soon(token)
        assert (await a.expect(RenewFailed)).problem.reason is Reason.STALE_STORE_NODE
        assert not any(isinstance(e, Renewed) for e in a.events)
        a.wire.after.clear()
        await a.renew(token)


async def test_a_keep_alive_without_its_check_proves_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        a.prepare = lambda wire: wire.before.update(txn=refuse("UNAVAILABLE", "etcdserver: request timed out"))
        a.prepare(a.wire)
        a.renew_soon(token)
        assert (await a.expect(RenewFailed)).problem.reason is Reason.STALE_STORE_NODE


async def test_another_cluster_proves_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        etcd.cluster_id = 8
        a.renew_soon(token)
        problem = (await a.expect(RenewFailed)).problem
        assert problem.reason is Reason.STORE_ERROR
        assert "cluster" in problem.detail
        etcd.cluster_id = 7
        await a.renew(token)


async def test_a_lease_that_is_gone_is_never_renewed_again(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        etcd.streams.clear()
        etcd.revoke(next(iter(etcd.leases)))
        a.renew_soon(token)
        await a.expect(SessionGone)
        asked = len(a.wire.calls)
        a.renew_soon(token)
        assert (await a.expect(RenewFailed)).problem.reason is Reason.SESSION_GONE
        a.submit(Stand(1, "e"))
        assert (await a.expect(StandFailed)).problem.reason is Reason.SESSION_GONE
        a.submit(Claim(1, "e", token, 0))
        await a.expect(EntryGone)
        a.submit(Withdraw(1, "e", token))
        await a.expect(Withdrawn)
        assert len(a.wire.calls) == asked
        assert sum(isinstance(e, SessionGone) for e in a.events) == 1


async def test_a_revoked_lease_is_noticed_without_a_renewal(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.lead()
        await a.until(lambda: bool(etcd.streams))
        etcd.revoke(next(iter(etcd.leases)))
        await a.expect(EntryGone, within_s=1.0)
        await a.expect(SessionGone, within_s=1.0)


async def test_a_lease_missing_when_standing_ends_the_session(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        etcd.leases.clear()
        a.submit(Stand(1, "e"))
        await a.expect(StandFailed)
        await a.expect(SessionGone)


async def test_a_ttl_above_the_grant_is_not_believed(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.wire.after["keep_alive"] = lambda r: replace(r, ttl_s=9_000_000_000)
        assert (await a.renew()).ttl_s == 3
        a.wire.after["keep_alive"] = lambda r: replace(r, ttl_s=2)
        assert (await a.renew()).ttl_s == 2


async def test_hundreds_of_elections_cost_two_requests(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        names = [f"e{i}" for i in range(150)]
        entries = tuple([Entry(name, await a.lead(name)) for name in names])
        asked = len(a.wire.calls)
        a.submit(Renew(1, entries))
        renewed = await a.expect(Renewed)
        assert renewed.owned == set(names)
        assert len(a.wire.calls) - asked == 2
        assert max(len(t.success) for t in a.wire.txns) <= 100


# ---- sessions, endpoints, tokens


async def test_the_granted_ttl_counts(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a", ttl_s=2.4) as a:
        opened = await a.open()
        assert isinstance(opened, SessionOpened)
        assert opened.ttl_s == 3  # whole seconds, never less than asked for


@pytest.mark.parametrize(("lease", "ttl_s"), [(0, 5), (-1, 5), (5, 0), (5, -1), (5, 1 << 62)])
async def test_an_impossible_grant_is_refused(etcd: MiniEtcd, lease: int, ttl_s: int) -> None:
    async with MiniDriver(etcd, "a") as a:
        a.prepare = lambda wire: wire.after.update(grant=lambda r: replace(r, lease=lease, ttl_s=ttl_s))
        failed = await a.open()
        assert isinstance(failed, SessionFailed)
        assert failed.problem.reason is Reason.STORE_ERROR


async def test_closing_revokes_and_silences(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        await a.lead()
        await b.open()
        await b.stand()
        a.submit(Renew(1, ()))
        a.submit(CloseSession(1))
        told = len(a.events)
        await b.expect(Elected)
        assert etcd.names("p/e/") == ["b"]
        assert len(a.events) == told


async def test_a_leftover_lease_is_revoked_when_the_store_is_back(etcd: MiniEtcd) -> None:
    def away() -> None:
        raise WireError("UNAVAILABLE", "failed to connect: Connection refused", "h0:1")

    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.lead()
        a.prepare = lambda wire: wire.before.update(revoke=away, grant=away)
        a.wire.before.update(revoke=away, grant=away)
        a.submit(CloseSession(1))
        assert isinstance(await a.open(), SessionFailed)
        await a.until(lambda: a.store._farewells is not None and not a.store._farewells._under_way)
        assert etcd.names("p/e/") == ["a"], "left behind"
        a.prepare = lambda wire: None
        a.wire.before.clear()
        assert isinstance(await a.open(), SessionOpened)
        await a.until(lambda: len(etcd.leases) == 1)
        assert etcd.names("p/e/") == []


async def test_a_lease_that_cannot_be_revoked_is_left_to_its_ttl(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        etcd.leases.clear()  # expired meanwhile
        a.submit(CloseSession(1))
        await a.open()
        await a.open()
        assert a.wire.calls.count("revoke") == 2, "one for each of the two sessions closed so far"


async def test_the_next_session_does_not_wait_for_the_last_one(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.lead()
        a.submit(CloseSession(1))
        await a.open()
        await a.lead()
        assert etcd.names("p/e/") == ["a"]
        assert {e.epoch for e in a.events if isinstance(e, Claimed)} == {1, 2}


async def test_a_session_closed_while_opening_leaves_no_lease(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        a.submit(OpenSession(1, 3.0))
        a.submit(CloseSession(1))
        a.epoch = 1
        await a.open()
        async with asyncio.timeout(3):
            while len(etcd.leases) > 1:
                await asyncio.sleep(0)
        assert all(e.epoch == 2 for e in a.events)


async def test_a_failing_endpoint_is_left_for_the_next(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a", endpoints=3) as a:
        await a.open()
        token = await a.lead()
        first = a.wire
        first.before.update(
            txn=refuse("UNAVAILABLE", "etcdserver: no leader"), keep_alive=refuse("UNAVAILABLE", "etcdserver: no leader")
        )
        assert (await a.renew(token)).owned == {"e"}
        assert a.wire.endpoint != first.endpoint
        assert first.closed
        await a.until(lambda: "watch" in a.wire.calls)  # the watch stream moves as well


async def test_a_refused_token_is_exchanged_once(etcd: MiniEtcd, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    async with MiniDriver(etcd, "a", credentials=Credentials("user", secret)) as a:
        a.prepare = lambda wire: setattr(wire, "token", "first")
        await a.open()
        await a.lead()
        a.wire.token = "second"
        asked = len(a.wire.calls)
        await a.renew()
        assert a.wire.calls[asked:].count("authenticate") == 1
        a.wire.after["authenticate"] = lambda token: "useless"
        a.wire.token = "third"
        a.renew_soon()
        assert (await a.expect(RenewFailed)).problem.reason is Reason.AUTH_FAILED
        assert "hunter2" not in repr(a.events)


async def test_an_unreadable_password_file_is_named(etcd: MiniEtcd, tmp_path: Path) -> None:
    async with MiniDriver(etcd, "a", credentials=Credentials("user", tmp_path / "missing")) as a:
        failed = await a.open()
        assert isinstance(failed, SessionFailed)
        assert failed.problem.reason is Reason.AUTH_FAILED
        assert "missing" in failed.problem.detail


async def test_an_unexpected_exception_reaches_the_daemon(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        a.wire.before["txn"] = lambda: 1 / 0
        a.renew_soon()
        await a.until(lambda: a.crashes)
        assert isinstance(a.crashes.pop(), ZeroDivisionError)


# ---- who waits


async def test_the_queue_is_shown_in_order_by_name(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        first = await a.lead()
        etcd.put(f"p/e/{etcd.grant(9):x}", "x\x00\n" + "y" * 400, lease=0x1001)
        await b.open()
        last = await b.stand()
        seen = await b.expect(QueueSeen)
        assert seen.led
        assert [c.token for c in seen.contenders] == sorted(c.token or 0 for c in seen.contenders)
        assert seen.contenders[0] == Contender("a", False, first)
        assert seen.contenders[2] == Contender("b", True, last)
        stranger = seen.contenders[1].instance
        assert len(stranger) == 255
        assert stranger.isprintable()
        await a.renew(first)
        assert [c.own for c in (await a.expect(QueueSeen)).contenders] == [True, False, False]


async def test_a_name_too_big_to_read_costs_only_the_name(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.lead()
        big = f"p/e/{etcd.grant(9):x}".encode()
        etcd.apply(Txn((), (Put(big, b"z" * 100, 0x1001), Put(b"p/e/1002", b"c", 0x1001))))

        def too_big(reply: Any) -> Any:
            found = [kv for r in reply.results if isinstance(r, Found) for kv in r.kvs]
            if any(len(kv.value) > 50 for kv in found):
                raise WireError("RESOURCE_EXHAUSTED", "Received message larger than max", "mini")
            return reply

        a.wire.after["txn"] = too_big
        await a.renew()
        await a.until(lambda: isinstance(a.events[-1], QueueSeen) and len(a.events[-1].contenders) == 3)
        seen = a.events[-1]
        assert isinstance(seen, QueueSeen)
        assert sorted(c.instance for c in seen.contenders) == ["?", "a", "c"]


async def test_a_withdrawal_without_a_token_names_the_entry_it_found(etcd: MiniEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """By lease alone, a deletion that arrives late or twice would take our next entry: it has the same key."""
    seen: list[Txn] = []
    apply = etcd.apply
    monkeypatch.setattr(etcd, "apply", lambda txn: (seen.append(txn), apply(txn))[1])
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        await a.stand()
        assert (await a.withdraw(None)).problem is None
        assert etcd.names("p/e/") == []
        deletes = [txn for txn in seen if any(isinstance(op, Delete) for op in txn.success)]
        assert deletes
        assert all(any(compare.target == "create" for compare in txn.compares) for txn in deletes)
        await a.stand()
        for txn in deletes:
            etcd.apply(txn)  # it arrives a second time
        assert etcd.names("p/e/") == ["a"]
