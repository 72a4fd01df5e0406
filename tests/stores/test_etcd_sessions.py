"""The etcd recipe against a small etcd in memory: leases granted, left over and revoked; endpoints; access tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from leaderd.election.commands import CloseSession, OpenSession, Renew
from leaderd.election.events import (
    Claimed,
    Elected,
    RenewFailed,
    SessionFailed,
    SessionOpened,
)
from leaderd.election.problems import Reason
from leaderd.stores.address import Credentials
from leaderd.stores.etcd.wire import WireError
from tests.stores.etcd_support import MiniDriver, MiniEtcd, refuse


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
