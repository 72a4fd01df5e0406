"""The etcd recipe against a small etcd in memory: what a renewal proves, and what it does not."""

from __future__ import annotations

from dataclasses import replace

from leaderd.election.commands import Claim, Entry, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    Renewed,
    RenewFailed,
    SessionGone,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Reason
from tests.stores.etcd_support import CLOCK, MiniDriver, MiniEtcd, own_key, refuse


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
