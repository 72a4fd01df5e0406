"""The etcd recipe against a small etcd in memory: an entry from its making to its withdrawal, and who else waits."""

from __future__ import annotations

from typing import Any

import pytest

from leaderd.election.commands import RaiseMark, Stand
from leaderd.election.events import (
    Contender,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.etcd.wire import Delete, Found, Put, Txn, WireError
from tests.stores.etcd_support import MARK, MiniDriver, MiniEtcd, lose_answer, own_key, refuse


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
