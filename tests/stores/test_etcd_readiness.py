"""The next in line has the mark raised before its turn comes: what that may be concluded from, and what not."""

from __future__ import annotations

from typing import Any

import pytest

from leaderd.election.commands import Claim, RaiseMark
from leaderd.election.events import Claimed, Elected, EntryGone, Event
from leaderd.stores.etcd.transactions import confirm, place_of
from leaderd.stores.etcd.wire import Delete, Put, Txn, WireError
from leaderd.stores.marks import mark_text, parse_mark, ready_text
from tests.stores.etcd_support import MiniDriver, MiniEtcd

MARK = b"p/.leaderd/e/mark"


def mark_of(etcd: MiniEtcd) -> int | None:
    return parse_mark(etcd.keys[MARK].value)


def raises(driver: MiniDriver) -> int:
    """How many transactions of this driver would have raised the mark. (What only confirms it raises nothing.)"""
    sent = [txn for wire in driver.wires for txn in wire.txns if [each.key for each in txn.compares] != [MARK]]
    return sum(any(isinstance(op, Put) and op.key == MARK for op in txn.success) for txn in sent)


def forget_watches(etcd: MiniEtcd, key: bytes) -> None:
    """No watch on this key alone tells anything any more."""
    for stream in etcd.streams:
        for number in [number for number, watch in stream._watches.items() if watch.key == key and not watch.range_end]:
            del stream._watches[number]


async def two(etcd: MiniEtcd, a: MiniDriver, b: MiniDriver) -> tuple[int, int]:
    """a leads, b is ready."""
    await a.open()
    first = await a.lead()
    await b.open()
    second = await b.stand()
    await b.until(lambda: mark_of(etcd) == second)
    await b.renew(second)
    await a.until(lambda: len(etcd.streams) == 2 and all(stream.watching for stream in etcd.streams))
    return first, second


@pytest.mark.parametrize("renewed", [True, False])
async def test_the_next_in_line_sends_nothing_when_its_turn_comes(
    etcd: MiniEtcd, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if its lease is so young that it was never renewed."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c:
        first, second = await two(etcd, a, b)
        await c.open()
        third = await c.stand()
        await c.renew(third)
        assert mark_of(etcd) == second < third, "only the next one gets ready"
        before = raises(b)
        if not renewed:
            monkeypatch.setattr(b.store._session, "confirmed_s", 0.0)
        await a.withdraw(first)
        await b.claim()
        assert raises(b) == before
        await c.renew(third)
        await c.until(lambda: mark_of(etcd) == third)


async def test_the_last_of_three_is_ready_once_it_is_next(etcd: MiniEtcd) -> None:
    """It watched the one before it alone; from then on it watches the leader and itself, in one."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c:
        first, second = await two(etcd, a, b)
        await c.open()
        third = await c.stand()
        await b.withdraw(second)
        await c.renew(third)  # the mark is b's: it was raised for nothing, and no token may be below it
        await a.withdraw(first)
        await c.claim()
        assert mark_of(etcd) == third


async def test_ready_without_the_own_entrys_events(etcd: MiniEtcd) -> None:
    """Our entry goes, then the leader's. The watch over both says so in that order, whatever other watches say."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await two(etcd, a, b)
        own = next(kv.key for kv in etcd.keys.values() if kv.value == b"b")
        older = next(kv.key for kv in etcd.keys.values() if kv.value == b"a")
        forget_watches(etcd, own)
        streams = list(etcd.streams)
        etcd.streams.clear()  # both happen before anything is told
        etcd.delete(own.decode())
        etcd.delete(older.decode())
        etcd.streams += streams
        for stream in streams:
            stream.catch_up()
        await b.expect(EntryGone)
        assert not any(isinstance(event, Elected | Claimed) for event in b.events)


async def test_both_entries_deleted_at_once(etcd: MiniEtcd) -> None:
    """In one transaction, so in one message, the leader's first: by the time of a claim it has been read that ours is gone."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await two(etcd, a, b)
        told = b.store._sink
        assert told is not None

        def claim_at_once(event: Event) -> None:
            told(event)
            if isinstance(event, Elected):  # as the core does, within the same step
                b.submit(Claim(1, "e", event.token, event.mark))

        b.store._sink = claim_at_once
        own, older = (next(kv.key for kv in etcd.keys.values() if kv.value == name) for name in (b"b", b"a"))
        forget_watches(etcd, own)  # it tells, too, but when is not known
        etcd.apply(Txn((), (Delete(older), Delete(own))))
        await b.expect(EntryGone)
        await b.until(lambda: raises(b) == 2)
        assert not any(isinstance(event, Claimed) for event in b.events)


async def test_a_turn_that_came_in_another_order_is_claimed(etcd: MiniEtcd) -> None:
    """First by a read, with no word of the watch: the read proves nothing about what has become of us since."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        etcd.streams.clear()
        await a.withdraw(first)
        await b.renew(second)
        elected = await b.expect(Elected)
        etcd.delete(next(kv.key.decode() for kv in etcd.keys.values() if kv.value == b"b"))
        b.submit(Claim(1, "e", elected.token, elected.mark))
        await b.expect(EntryGone, Claimed)
        assert not any(isinstance(event, Claimed) for event in b.events)


async def test_nobody_gets_ready_before_the_leader_has_claimed(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        await a.open()
        await a.stand()
        elected = await a.expect(Elected)
        await b.open()
        token = await b.stand()
        await b.renew(token)
        assert mark_of(etcd) == 0, "tried, and refused"
        a.submit(Claim(1, "e", elected.token, elected.mark))
        await a.expect(Claimed)
        await b.until(lambda: mark_of(etcd) == token)


async def test_nobody_gets_ready_before_a_leader_that_was_ready_has_confirmed(etcd: MiniEtcd) -> None:
    """It is first, and has yet to claim: the mark has to stay at its token, for it may have to ask. Then it confirms."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b, MiniDriver(etcd, "c") as c:
        first, second = await two(etcd, a, b)
        await c.open()
        third = await c.stand()
        assert etcd.keys[MARK].value == ready_text(second)
        await a.withdraw(first)
        elected = await b.expect(Elected)
        await c.renew(third)
        await c.until(lambda: raises(c) == 1)
        await c.renew(third)
        assert etcd.keys[MARK].value == ready_text(second), "the third one tried, and was refused"
        b.submit(Claim(1, "e", elected.token, elected.mark))
        await b.expect(Claimed)
        await c.until(lambda: etcd.keys[MARK].value == ready_text(third))


async def test_a_confirmation_that_is_late_changes_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        await a.withdraw(first)
        await b.claim()
        await b.until(lambda: etcd.keys[MARK].value == mark_text(second))
        etcd.put(MARK.decode(), ready_text(second + 1).decode())
        await b.wire.txn(confirm(place_of("p", "e"), second), None, 1.0)
        assert etcd.keys[MARK].value == ready_text(second + 1)


async def test_a_raised_mark_is_a_claimed_one(etcd: MiniEtcd) -> None:
    """Somebody has led with the very token of the next in line, in a store that was restored since, and says so: it never leads."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        a.submit(RaiseMark(1, "e", second))
        await a.until(lambda: etcd.keys[MARK].value == mark_text(second))
        await a.withdraw(first)
        elected = await b.expect(Elected)
        if elected.mark < second:  # its watch had not told it yet
            b.submit(Claim(1, "e", second, elected.mark))
            elected = await b.expect(Elected, Claimed)
        assert elected == Elected(1, "e", second, second)


async def test_under_a_leader_of_another_make_it_is_tried_once(etcd: MiniEtcd) -> None:
    etcd.put("p/e/abc", "etcdctl", lease=etcd.grant(60))
    async with MiniDriver(etcd, "b") as b:
        await b.open()
        token = await b.stand()
        await b.until(lambda: raises(b) == 1)
        for _ in range(3):
            await b.renew(token)
        assert raises(b) == 1
        etcd.delete("p/e/abc")
        await b.claim()
        assert mark_of(etcd) == token


async def test_readiness_is_one_entrys_own(etcd: MiniEtcd) -> None:
    """An entry that was ready and went leaves nothing to its successor in the same session."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        await b.withdraw(second)
        again = await b.stand()
        before = raises(b)
        await a.withdraw(first)
        await b.claim()
        assert raises(b) > before, "the mark was never at this entry's leader: it claims for itself"
        assert mark_of(etcd) == again


async def test_an_unanswered_raise_leaves_a_claim_that_is_taken(etcd: MiniEtcd) -> None:
    """The mark stands at our token, and we do not know that we raised it."""

    def lose_raise(answer: Any) -> Any:
        if answer.succeeded and len(answer.results) == 1 and answer.results[0] is None:
            raise WireError("DEADLINE_EXCEEDED", "", "mini")
        return answer

    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        b.prepare = lambda wire: wire.after.update(txn=lose_raise)
        first, second = await two(etcd, a, b)
        for wire in b.wires:
            wire.after.clear()
        b.prepare = lambda wire: None
        await a.withdraw(first)
        await b.claim()
        assert mark_of(etcd) == second


async def test_a_watch_whose_past_is_gone_proves_nothing(etcd: MiniEtcd) -> None:
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        streams = list(etcd.streams)
        etcd.streams.clear()
        await a.withdraw(first)
        etcd.put("p/other", "x")
        etcd.compacted = etcd.revision
        for stream in streams:
            stream.break_off()
        before = raises(b)
        await b.claim()
        assert raises(b) == before + 1
        assert mark_of(etcd) == second


async def test_a_mark_that_is_written_ends_it(etcd: MiniEtcd) -> None:
    """Whoever raises it knows of higher tokens: ours is refused, as by any claim."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        await b.until(lambda: any(watch.key == MARK for stream in etcd.streams for watch in stream._watches.values()))
        etcd.put(MARK.decode(), f"{1_000_000:020d}")
        await a.withdraw(first)
        elected = await b.expect(Elected)
        assert elected.mark == 1_000_000
        b.submit(Claim(1, "e", second, 0))
        assert (await b.expect(Elected)).mark == 1_000_000
        assert not any(isinstance(event, Claimed) for event in b.events)


async def test_between_two_turns_of_the_loop_too(etcd: MiniEtcd) -> None:
    """Elected and proven, and then the mark is written, before the core has claimed."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, second = await two(etcd, a, b)
        await b.until(lambda: any(watch.key == MARK for stream in etcd.streams for watch in stream._watches.values()))
        await a.withdraw(first)
        await b.expect(Elected)
        sent = len(b.wire.txns)
        etcd.put(MARK.decode(), f"{1_000_000:020d}")
        await a.renew()
        b.submit(Claim(1, "e", second, 0))
        assert (await b.expect(Elected)).mark == 1_000_000
        assert len(b.wire.txns) > sent


async def test_old_news_is_claimed(etcd: MiniEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last renewal, and getting ready, are longer ago than half the ttl: what the watch tells may be of long ago, so the claim
    is sent."""
    async with MiniDriver(etcd, "a") as a, MiniDriver(etcd, "b") as b:
        first, _ = await two(etcd, a, b)
        session = b.store._session
        long_ago_s = session.now_s() - session.ttl_s / 2 - 0.1
        monkeypatch.setattr(session, "confirmed_s", long_ago_s)
        monkeypatch.setattr(session.queue("e")._ready, "sent_at_s", long_ago_s)
        before = raises(b)
        await a.withdraw(first)
        await b.claim()
        assert raises(b) == before + 1
