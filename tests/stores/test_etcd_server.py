"""The etcd driver against real etcd servers, 3.4 and 3.5: what only the real thing can show."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import testbed
from leaderd.election.commands import Claim, CloseSession, Entry, Renew, Stand
from leaderd.election.events import (
    Claimed,
    Connected,
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
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials, Tls
from testbed import EtcdCluster, EtcdUser, tls
from testbed.etcd import EtcdError
from tests.stores.etcd_support import CLOCK, Driver

pytestmark = pytest.mark.servers
VERSIONS = ("3.4", "3.5")
_PLACES = (f"place-{n}" for n in itertools.count())


@pytest.fixture(scope="module", params=VERSIONS)
def one(request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    """One member, shared by the tests of this file; each takes a place of its own."""
    testbed.require("etcd", request.param)
    with EtcdCluster(1, request.param) as cluster:
        yield cluster


@pytest.fixture
def place() -> str:
    return next(_PLACES)


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def fill(cluster: EtcdCluster) -> None:
    for n in range(50):
        cluster.put(f"fill-{n}", "x" * 20_000)


async def test_the_life_of_a_queue(one: EtcdCluster, place: str) -> None:
    url = one.url(place)
    async with Driver(url, "a") as a, Driver(url, "b") as b, Driver(url, "c") as c:
        tokens = []
        for driver in (a, b, c):
            opened = await driver.open()
            assert isinstance(opened, SessionOpened)
            assert opened.ttl_s == 3.0
            tokens.append(await driver.stand())
        await a.claim()
        keys = one.get(f"{place}/e/", prefix=True)
        assert [k.value for k in sorted(keys, key=lambda k: k.create_revision)] == ["a", "b", "c"]
        assert sorted(k.create_revision for k in keys) == tokens
        assert all(k.key == f"{place}/e/{k.lease:x}" for k in keys)
        for driver, token in zip((a, b, c), tokens, strict=True):
            renewed = await driver.renew(token)
            assert (renewed.owned, renewed.ttl_s) == ({"e"}, 3.0)
        await a.withdraw(tokens[0])
        await b.claim()
        await b.until(lambda: one.get(f"{place}/.leaderd/e/mark")[0].value == f"{tokens[1]:020d}")
        b.submit(CloseSession(1))
        await c.claim()
        assert [k.value for k in one.get(f"{place}/e/", prefix=True)] == ["c"]
        assert tokens == sorted(set(tokens))


async def test_an_operators_delete_is_noticed_at_once(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a") as a:
        await a.open()
        token = await a.lead()
        await a.renew(token)
        await asyncio.to_thread(one.delete, f"{place}/e/", prefix=True)
        gone = await a.expect(EntryGone, within_s=1.0)
        assert gone.problem.reason is Reason.ENTRY_GONE
        assert await a.lead() > token
        assert not any(isinstance(e, SessionGone) for e in a.events)


async def test_an_operators_revocation_is_noticed_at_once(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a") as a:
        await a.open()
        token = await a.lead()
        key = one.get(f"{place}/e/", prefix=True)[0]
        await asyncio.to_thread(one.lease_revoke, key.lease)
        await a.expect(SessionGone, within_s=1.0)
        a.renew_soon(token)
        await a.expect(RenewFailed)
        await a.open()
        assert await a.lead() > token


async def test_an_overwritten_entry_is_lost_and_then_foreign(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a") as a, Driver(one.url(place), "b") as b:
        await a.open()
        token = await a.lead()
        key = one.get(f"{place}/e/", prefix=True)[0].key
        await asyncio.to_thread(one.put, key, "mine now")
        await a.expect(EntryGone, within_s=1.0)
        assert (await a.renew(token)).lost == {"e"}
        await b.open()
        b.submit(Stand(1, "e"))
        failed = await b.expect(StandFailed)
        assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
        assert key in failed.problem.detail
        await asyncio.to_thread(one.delete, key)
        await b.lead()


async def test_a_lease_that_expired_while_waiting_never_leads(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a", ttl_s=10) as a, Driver(one.url(place), "b", ttl_s=2) as b:
        await a.open()
        await a.lead()
        await b.open()
        token = await b.stand()
        await b.expect(SessionGone, within_s=6)  # nobody renews it
        b.submit(Claim(1, "e", token, 0))
        await b.expect(EntryGone)
        assert not any(isinstance(e, Claimed) for e in b.events)


async def test_a_dead_candidate_is_followed_within_its_ttl(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a", ttl_s=2) as a, Driver(one.url(place), "b", ttl_s=10) as b:
        await a.open()
        token = await a.lead()
        await b.open()
        await b.stand()
        renewed = await a.renew(token)
        await b.expect(Elected, within_s=4)
        after_s = CLOCK.now_s() - renewed.sent_at_s
        assert 2.0 <= after_s < 3.5
        await a.expect(SessionGone)


async def test_a_compaction_is_survived(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a") as a, Driver(one.url(place), "b") as b:
        await a.open()
        token = await a.lead()
        await b.open()
        await b.stand()
        for n in range(3):
            one.put(f"{place}-noise", str(n))
        revision = one.get(f"{place}-noise")[0].mod_revision
        one.ctl("compact", str(revision))
        watcher = b.store._session.watcher  # type: ignore[union-attr]
        await b.until(lambda: watcher._stream is not None)
        watcher.move()
        await a.withdraw(token)
        await b.claim()


async def quiet(driver: Driver) -> None:
    """Wait until a driver has asked nothing for 0.2 s: whoever has come to stand next has its claim proven."""
    async with asyncio.timeout(10.0):
        before = -1
        while before != driver.store.traffic.requests:
            before = driver.store.traffic.requests
            await asyncio.sleep(0.2)


async def test_many_elections_share_one_renewal(one: EtcdCluster, place: str) -> None:
    async with Driver(one.url(place), "a", ttl_s=10) as a, Driver(one.url(place), "b", ttl_s=10) as b:
        await a.open()
        await b.open()
        names = [f"e{i}" for i in range(120)]
        for driver in (a, b):
            for name in names:
                driver.submit(Stand(1, name))
            await driver.until(lambda d=driver: sum(isinstance(e, Queued) for e in d.events) == len(names))
            entries = tuple(Entry(e.election, e.token) for e in driver.events if isinstance(e, Queued))
            await driver.until(lambda d=driver: (stream := d.store._session.watcher._stream) is not None and stream._outbox.empty())
            await quiet(driver)
            requests = driver.store.traffic.requests
            driver.submit(Renew(1, entries))
            renewed = await driver.expect(Renewed)
            assert renewed.owned == set(names)
            assert driver.store.traffic.requests - requests <= 3
        a.submit(CloseSession(1))
        await b.until(lambda: sum(isinstance(e, Elected) for e in b.events) == len(names))


async def test_etcdctl_lock_and_elect_take_turns_with_us(one: EtcdCluster, place: str) -> None:
    """`etcdctl` waits while we lead, and we wait while it leads: in both directions, and each side sees the other."""
    async with Driver(one.url(place), "a") as a:
        await a.open()
        token = await a.lead()
        locked = asyncio.create_task(asyncio.to_thread(one.ctl, "lock", f"{place}/e", "cat", "/dev/null", timeout=20.0))
        while len(one.get(f"{place}/e/", prefix=True)) < 2:
            await asyncio.sleep(0.02)
        assert not locked.done()
        await a.stand("other")
        await a.withdraw(token)
        await locked
        theirs = one.ctl("lock", f"{place}/e", "--", "sh", "-c", "echo $ETCD_LOCK_KEY")
        assert theirs.strip().startswith(f"{place}/e/")


async def test_we_wait_for_a_leader_of_etcdctl(one: EtcdCluster, place: str) -> None:
    lease = one.lease_grant(60)
    one.put(f"{place}/e/{lease:x}", "etcdctl-elect", lease)
    async with Driver(one.url(place), "a") as a:
        await a.open()
        await a.stand()
        seen = await a.expect(QueueSeen)
        assert [c.instance for c in seen.contenders] == ["etcdctl-elect", "a"]
        assert not any(isinstance(e, Elected) for e in a.events)
        await asyncio.to_thread(one.lease_revoke, lease)
        await a.claim()


async def test_a_silent_endpoint_is_passed_over(one: EtcdCluster, place: str, silent: str) -> None:
    for name in ("a", "b"):  # the endpoint to begin with depends on the incarnation
        url = f"etcd://{silent},{one.endpoints[0]}/{place}"
        async with Driver(url, name) as driver:
            opened = await driver.open(within_s=3.0)
            assert isinstance(opened, SessionOpened)
            await driver.withdraw(await driver.lead())


async def test_a_server_that_comes_back(tmp_path: Path) -> None:
    testbed.require("etcd", "3.5")
    with EtcdCluster(1, "3.5", tmp_path) as cluster:
        async with Driver(cluster.url("p"), "a", ttl_s=10) as a:
            await a.open()
            token = await a.lead()
            await asyncio.to_thread(cluster.kill, 0)
            a.renew_soon(token)
            failed = await a.expect(RenewFailed)
            assert failed.problem.reason is Reason.STORE_UNREACHABLE
            assert any(isinstance(e, Disconnected) for e in a.events)
            await asyncio.to_thread(cluster.restart, 0)
            assert (await a.renew(token)).owned == {"e"}
            assert any(isinstance(e, Connected) for e in a.events)
            await asyncio.to_thread(cluster.delete, "p/e/", prefix=True)
            await a.expect(EntryGone)  # the watch stream is back as well


async def test_a_full_store_says_so(tmp_path: Path) -> None:
    testbed.require("etcd", "3.5")
    with EtcdCluster(1, "3.5", tmp_path, extra_args=["--quota-backend-bytes=65536"]) as cluster:
        async with Driver(cluster.url("p"), "a", ttl_s=10) as a:
            await a.open()
            token = await a.lead()
            with pytest.raises(EtcdError, match="space exceeded"):
                fill(cluster)
            assert (await a.renew(token)).owned == {"e"}  # whoever leads goes on
            a.submit(Stand(1, "f"))
            problem = (await a.expect(StandFailed)).problem
            assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.STORE_ERROR)
            assert "NOSPACE" in problem.detail
            assert (await a.withdraw(token)).problem is None
        async with Driver(cluster.url("p"), "b", ttl_s=10) as b:
            failed = await b.open()
            assert isinstance(failed, SessionFailed)
            assert "NOSPACE" in failed.problem.detail


@pytest.mark.parametrize("version", VERSIONS)
async def test_three_members_one_frozen(tmp_path: Path, version: str) -> None:
    testbed.require("etcd", version)
    with EtcdCluster(3, version, tmp_path) as cluster:
        async with Driver(cluster.url("p"), "a", ttl_s=6) as a, Driver(cluster.url("p"), "bb", ttl_s=6) as b:
            await a.open()
            token = await a.lead()
            await b.open()
            mine = await b.stand()
            for index in range(3):
                await asyncio.to_thread(cluster.freeze, index)
                for driver, its in ((a, token), (b, mine)):
                    begun_s = CLOCK.now_s()
                    while True:
                        driver.renew_soon(its)
                        event = await driver.expect(Renewed, RenewFailed)
                        if isinstance(event, Renewed):
                            break
                    assert event.owned == {"e"}
                    assert CLOCK.now_s() - begun_s < 4.5
                await asyncio.to_thread(cluster.thaw, index)
                await asyncio.to_thread(cluster.wait_ready)
            await a.withdraw(token)
            await b.claim()


async def test_a_minority_member_proves_nothing(tmp_path: Path) -> None:
    testbed.require("etcd", "3.5")
    with EtcdCluster(3, "3.5", tmp_path) as cluster:
        leader = cluster.leader_index()
        others = [i for i in range(3) if i != leader]
        async with Driver(f"etcd://{cluster.endpoints[leader]}/p", "a", ttl_s=9) as a:
            await a.open()
            token = await a.lead()
            await a.renew(token)
            for index in others:
                await asyncio.to_thread(cluster.freeze, index)
            for _ in range(3):
                a.renew_soon(token)
                failed = await a.expect(RenewFailed, Renewed)
                assert isinstance(failed, RenewFailed)
                assert failed.problem.reason in {Reason.STALE_STORE_NODE, Reason.STORE_UNREACHABLE}, failed
            for index in others:
                await asyncio.to_thread(cluster.thaw, index)


@pytest.mark.parametrize("version", VERSIONS)
async def test_least_privilege_suffices_and_more_is_not_asked(tmp_path: Path, version: str) -> None:
    testbed.require("etcd", version)
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    users = [EtcdUser("app", "s3cret", "p/")]
    with EtcdCluster(1, version, tmp_path / "etcd", auth=users) as cluster:
        app = Credentials("app", secret)
        async with Driver(cluster.url("p"), "a", credentials=app) as a, Driver(cluster.url("p"), "b", credentials=app) as b:
            for driver in (a, b):
                await driver.open()
            token = await a.lead()
            await b.stand()
            assert (await a.renew(token)).owned == {"e"}
            await a.withdraw(token)
            await b.claim()
            # The server forgets its tokens: each is exchanged for a new one, once, and nothing is lost.
            await asyncio.to_thread(cluster.kill, 0)
            await asyncio.to_thread(cluster.restart, 0)
            c = Driver(cluster.url("q"), "c", credentials=app)
            async with c:
                await c.open()
                c.submit(Stand(1, "e"))
                assert (await c.expect(StandFailed)).problem.reason is Reason.PERMISSION_DENIED
            assert isinstance(await a.open(), SessionOpened)
            await a.stand()
        async with Driver(cluster.url("p"), "nobody") as nobody:
            await nobody.open()
            nobody.submit(Stand(1, "e"))
            assert (await nobody.expect(StandFailed)).problem.reason is Reason.AUTH_FAILED
        secret.write_text("wrong")
        async with Driver(cluster.url("p"), "w", credentials=app) as w:
            failed = await w.open()
            assert isinstance(failed, SessionFailed)
            assert failed.problem.reason is Reason.AUTH_FAILED
            assert "wrong" not in failed.problem.detail
            secret.write_text("s3cret")
            assert isinstance(await w.open(), SessionOpened)  # mended without a restart


async def test_an_expired_token_is_exchanged_unnoticed(tmp_path: Path) -> None:
    testbed.require("etcd", "3.5")
    secret = tmp_path / "password"
    secret.write_text("s3cret")
    users, short = [EtcdUser("app", "s3cret", "p/")], ["--auth-token-ttl=1"]
    with EtcdCluster(1, "3.5", tmp_path / "etcd", auth=users, extra_args=short) as cluster:
        app = Credentials("app", secret)
        async with Driver(cluster.url("p"), "a", ttl_s=10, credentials=app) as a:
            await a.open()
            token = await a.lead()
            for _ in range(2):
                begun_s = CLOCK.now_s()
                await a.until(lambda since_s=begun_s: CLOCK.now_s() - since_s > 2.5)  # tokens are swept once a second
                assert (await a.renew(token)).owned == {"e"}
                assert a.store._session is not None
                a.store._session.watcher.move()  # a new stream needs a token as well
            await a.withdraw(token)
            token = await a.lead()
            await asyncio.to_thread(cluster.delete, "p/e/", prefix=True)
            await a.expect(EntryGone, within_s=2.0)
            assert not any(isinstance(e, Disconnected | RenewFailed) for e in a.events)


async def test_credentials_are_no_obstacle_where_none_are_asked(one: EtcdCluster, place: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    async with Driver(one.url(place), "a", credentials=Credentials("app", secret)) as a:
        await a.open()
        assert (await a.renew(await a.lead())).owned == {"e"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_tls_both_ways(tmp_path: Path, version: str) -> None:
    testbed.require("etcd", version)
    if reason := tls.available():
        testbed.lacking("openssl", reason)
    files = tls.make(tmp_path / "tls")
    with EtcdCluster(1, version, tmp_path / "etcd", tls=files) as cluster:
        ours = Tls(files.ca, files.client_cert, files.client_key)
        async with Driver(cluster.url("p"), "a", tls=ours) as a:
            await a.open()
            assert (await a.renew(await a.lead())).owned == {"e"}
        wrong = [
            Tls(files.other_ca, files.client_cert, files.client_key),
            Tls(files.ca, *files.pair("other-client")),
            Tls(files.ca, *files.pair("expired-client")),
            Tls(files.ca),
        ]
        for material in wrong:
            async with Driver(cluster.url("p"), "w", tls=material) as w:
                failed = await w.open()
                assert isinstance(failed, SessionFailed), material
                assert failed.problem.reason in {Reason.AUTH_FAILED, Reason.STORE_UNREACHABLE}
        plain = cluster.url("p").replace("etcds://", "etcd://")
        async with Driver(plain, "p") as p:
            failed = await p.open()
            assert isinstance(failed, SessionFailed)
            assert failed.problem.reason in {Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE}


async def test_tls_files_are_read_for_each_connection(tmp_path: Path) -> None:
    testbed.require("etcd", "3.5")
    if reason := tls.available():
        testbed.lacking("openssl", reason)
    files = tls.make(tmp_path / "tls")
    with EtcdCluster(1, "3.5", tmp_path / "etcd", tls=files) as cluster:
        ca = tmp_path / "ca.crt"
        ca.write_bytes(files.other_ca.read_bytes())
        async with Driver(cluster.url("p"), "a", tls=Tls(ca, files.client_cert, files.client_key)) as a:
            failed = await a.open()
            assert isinstance(failed, SessionFailed)
            assert failed.problem.reason is Reason.AUTH_FAILED
            ca.write_bytes(files.ca.read_bytes())
            assert isinstance(await a.open(), SessionOpened)
