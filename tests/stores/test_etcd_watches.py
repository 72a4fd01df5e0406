"""The etcd recipe against a small etcd in memory: watches that break, stall, are refused, or miss what was compacted."""

from __future__ import annotations

import asyncio

from leaderd.election.events import (
    Connected,
    Disconnected,
    Elected,
    EntryGone,
    RenewFailed,
)
from leaderd.election.problems import Reason
from leaderd.stores.etcd.watcher import _CANCEL_AFTER_S
from leaderd.stores.etcd.wire import WatchCancel
from tests.stores.etcd_support import CLOCK, MiniDriver, MiniEtcd, MiniStream, MiniWire, own_key, refuse


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


async def test_a_withdrawal_leaves_before_the_watches_that_end_with_it_are_cancelled(etcd: MiniEtcd) -> None:
    """Whoever is next waits for the withdrawal, and nobody for the rest."""
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        own = own_key(etcd, "a").encode()
        await a.until(lambda: bool(etcd.streams))
        (stream,) = etcd.streams

        def watched() -> bool:
            return any(watch.key == own for watch in stream._watches.values())

        await a.until(watched)
        seen: list[bool] = []
        a.wire.before["txn"] = lambda: seen.append(watched())
        await a.withdraw(token)
        assert seen == [True]
        await a.until(lambda: not watched())


async def test_what_a_broken_stream_watched_is_cancelled_neither_there_nor_on_the_next(etcd: MiniEtcd) -> None:
    """The numbers are ours, and count on: but a cancellation that a stream has no use for is one message more."""
    async with MiniDriver(etcd, "a") as a:
        await a.open()
        token = await a.lead()
        await a.until(lambda: bool(etcd.streams))
        (stream,) = etcd.streams
        sent: list[object] = []

        def listen(to: MiniStream) -> None:
            send = to.send
            to.send = lambda request: (sent.append(request), send(request))[1]  # type: ignore[method-assign]

        listen(stream)
        await a.withdraw(token)
        stream.break_off()
        await a.until(lambda: bool(etcd.streams))
        listen(etcd.streams[0])
        await a.stand()  # the watch on its own key is asked for on the new stream
        await asyncio.sleep(2 * _CANCEL_AFTER_S)
        assert not [request for request in sent if isinstance(request, WatchCancel)]
