"""The ZooKeeper driver against real servers: what is particular to ZooKeeper. What all stores share is in `tests/contract`."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

from leaderd.election.commands import Claim, CloseSession, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import (
    Connected,
    Disconnected,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    Renewed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials
from testbed import ZooKeeperCluster
from tests.stores.zookeeper_support import Place, leave, requests_after

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("zookeeper-driver")]


@pytest.fixture
def place(zookeeper_place: Place) -> Place:
    return zookeeper_place


# ---- the session


@pytest.mark.parametrize(("asked_s", "granted_s"), [(60.0, 10.0), (0.3, 1.0), (3.0, 3.0)])
async def test_the_negotiated_timeout_counts(place: Place, asked_s: float, granted_s: float) -> None:
    """20 ticks at most and 2 at least, whatever was asked for."""
    one = await place.candidate(open_session=False, ttl_s=asked_s)
    assert (await one.open()).ttl_s == granted_s
    assert (await one.renew()).ttl_s == granted_s


async def test_a_renewal_is_a_proposal(place: Place) -> None:
    """Also without an entry, and before there is a path: a server that has lost its quorum must not be able to answer it."""
    one = await place.candidate()
    assert await one.store._session.records.unknown() is None  # which takes a proposal of its own
    for entries in ((), ()):
        before = await place.zxid()
        await one.renew(*entries)
        assert await place.zxid() == before + 1
    claimed = await one.lead()
    await requests_after(place, [one], 0.1)
    before = await place.zxid()
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    assert await place.zxid() == before + 1


async def test_kazoo_never_opens_a_second_session(place: Place) -> None:
    one = await place.candidate()
    await one.lead()
    opened = await place.operator.session_ids()
    await place.operator.revoke_session("e", one.name)
    gone = await one.expect(SessionGone, within_s=1.0)
    assert gone.problem.reason is Reason.SESSION_GONE
    await place.pause(0.5)
    assert len(await place.operator.session_ids()) == len(opened) - 1


async def test_closing_ends_the_session_at_once_and_leaves_no_threads(place: Place) -> None:
    """Hundreds of sessions, one after the other: no thread, no socket stays."""
    sessions = await place.operator.session_ids()
    one = await place.candidate()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(150):
        await one.open()
    one.submit(CloseSession(one.epoch))
    await place.until(lambda: threading.active_count() <= threads - 1, 5.0, "the end of all threads")
    assert len(os.listdir("/proc/self/fd")) <= files
    gone = place.until_operator(lambda: _same(place, sessions), 3.0, "the end of all sessions")
    await gone


async def _same(place: Place, sessions: set[str]) -> bool:
    return await place.operator.session_ids() == sessions


async def test_sessions_that_never_open_leave_no_threads(place: Place) -> None:
    proxy = await place.wire()
    one = await place.candidate(wire=proxy, open_session=False)
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for fault in ("silence", "refuse"):
        getattr(proxy, fault)()
        for _ in range(2):
            one.epoch += 1
            one.submit(OpenSession(one.epoch, 1.0))
            await one.expect(SessionFailed, within_s=3.0)
            one.submit(CloseSession(one.epoch))
        proxy.heal()
    await place.until(lambda: threading.active_count() <= threads, 5.0, "the end of all threads")
    await place.until(lambda: len(os.listdir("/proc/self/fd")) <= files + 1, 5.0, "the end of all sockets")


async def test_opening_anew_waits_for_no_silent_session(place: Place) -> None:
    proxy, one = await place.proxied()
    await one.lead()
    proxy.silence()
    one.submit(CloseSession(one.epoch))
    one.epoch += 1
    one.submit(OpenSession(one.epoch, 3.0))
    await place.pause(0.2)
    proxy.heal()
    await one.expect(SessionOpened, within_s=2.0, epoch=one.epoch)


async def test_a_short_break_keeps_session_and_entry(place: Place) -> None:
    proxy, one = await place.proxied()
    claimed = await one.lead()
    one.forget()
    proxy.reset()
    await one.expect(Disconnected)
    await one.expect(Connected)
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    assert one.find(EntryGone) is one.find(SessionGone) is None


async def test_a_silent_connection_is_given_up(place: Place) -> None:
    """Long before the ttl is over, and long before kazoo would: the next host may answer."""
    proxy, one = await place.proxied(ttl_s=6.0)
    claimed = await one.lead()
    one.forget()
    proxy.silence()
    begun_s = place.now_s()
    one.submit(Renew(one.epoch, (Entry("e", claimed.token),)))
    await one.expect(Disconnected, within_s=3.0)
    assert place.now_s() - begun_s < 2.0
    proxy.heal()
    one.keep_renewing()
    assert (await one.expect(Renewed, within_s=3.0)).owned == {"e"}


# ---- on the wire


async def test_names_and_data_are_curators(place: Place) -> None:
    one = await place.candidate("pod-ä")
    claimed = await one.lead()
    [name] = await place.names()
    assert re.fullmatch(r"_c_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}-lock-[0-9]{10}", name)
    data, stat = await place.zk("get", f"{place.directory}/{name}")
    assert data == "pod-ä".encode()
    assert stat.czxid == claimed.token
    assert stat.ephemeralOwner != 0
    assert await place.marked() == b"%020d" % claimed.token


async def test_tokens_rise_over_containers_that_vanish(place: Place) -> None:
    """Curator makes the parents as containers: gone when empty, and the sequence numbers begin anew."""
    tokens, numbers = [], []
    one = await place.candidate()
    await place.make_container(f"/{place.path}")
    for _ in range(2):
        await place.make_container(place.directory)
        claimed = await one.lead()
        tokens.append(claimed.token)
        numbers += [name[-10:] for name in await place.names()]
        await leave(one, claimed.token)
        await place.until_operator(lambda: _absent(place), 5.0, "the removal of the container")
    claimed = await one.lead()
    assert tokens[0] < tokens[1] < claimed.token
    assert numbers == ["0000000000", "0000000000"]


async def _absent(place: Place) -> bool:
    return await place.zk("exists", place.directory) is None


async def test_an_empty_path_is_the_root(zookeeper: ZooKeeperCluster) -> None:
    place = await asyncio.to_thread(Place, zookeeper)
    try:
        one = await place.candidate(address=type(place.address)("zookeeper", place.address.hosts, "", tls=False))
        claimed = await one.lead(place.path)
        assert await place.zk("exists", f"/.leaderd/{place.path}/mark")
        assert (await one.renew(Entry(place.path, claimed.token))).owned == {place.path}
        assert [data for _, data, _ in place.operator._nodes("")] == [one.name]  # type: ignore[attr-defined]
    finally:
        await place.aclose()


# ---- others in the queue


async def test_a_foreign_candidate_that_sorts_before_us_goes_first(place: Place) -> None:
    """A name without `lock-` is compared as a whole, as Curator does; it is waited for like anybody."""
    await place.zk("ensure_path", place.directory)
    foreign = await place.zk("create", f"{place.directory}/000-x", b"other\ntool", ephemeral=True)
    one = await place.candidate()
    await one.stand()
    seen = await one.expect(QueueSeen)
    assert [contender.instance for contender in seen.contenders] == ["other\N{REPLACEMENT CHARACTER}tool", one.name]
    await one.never(Elected, for_s=0.3)
    await place.zk("delete", foreign)
    await one.win()


async def test_a_foreign_candidate_that_sorts_after_us_waits(place: Place) -> None:
    await place.zk("ensure_path", place.directory)
    await place.zk("create", f"{place.directory}/zzz", b"", ephemeral=True)
    one = await place.candidate()
    await one.lead()


@pytest.mark.parametrize("kind", ["persistent", "container"])
async def test_what_nobody_will_take_away_is_told(place: Place, kind: str) -> None:
    path = f"{place.directory}/_c_00000000-0000-4000-8000-000000000000-lock-0000000000"
    await place.zk("ensure_path", place.directory)
    await (place.zk("create", path, b"") if kind == "persistent" else place.make_container(path))
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    failed = await one.expect(StandFailed)
    assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
    assert path in failed.problem.detail
    assert len(await place.names()) == 1, "our own node is out of the queue"
    await place.zk("delete", path)
    one.forget()
    await one.lead()


async def test_a_mark_that_is_none(place: Place) -> None:
    path = f"/{place.path}/.leaderd/e/mark"
    await place.zk("create", path, b"wordpress", makepath=True)
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    failed = await one.expect(StandFailed)
    assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
    assert path in failed.problem.detail
    assert await place.names() == []
    await place.zk("delete", path)
    one.forget()
    await one.lead()


# ---- parts of a renewal


async def test_a_renewal_tells_the_lost_from_the_owned(place: Place) -> None:
    one = await place.candidate()
    names = [f"e{i}" for i in range(5)]
    tokens = {name: (await one.lead(name)).token for name in names}
    await place.pause(0.2)
    one.store._session.client._kazoo._data_watchers.clear()  # type: ignore[attr-defined]  # the renewal alone is to find out
    entries = tuple(Entry(name, token) for name, token in tokens.items())
    for name in ("e1", "e3"):
        await place.operator.delete_entry(name, one.name)
    await one.never(EntryGone, for_s=0.1)
    renewed = await one.renew(*entries)
    assert renewed.lost == {"e1", "e3"}
    assert renewed.owned == {"e0", "e2", "e4"}


async def test_after_a_reconnection_the_owner_is_compared(place: Place) -> None:
    """While we were away somebody replaced our node by one of the same name: a check would find it alive."""
    proxy, one = await place.proxied(ttl_s=6.0)
    claimed = await one.lead()
    [name] = await place.names()
    proxy.refuse()
    await one.expect(Disconnected)
    await place.zk("delete", f"{place.directory}/{name}")
    await place.zk("create", f"{place.directory}/{name}", one.name.encode(), ephemeral=True)
    proxy.heal()
    one.submit(Renew(one.epoch, (Entry("e", claimed.token),)))
    renewed = await one.expect(Renewed, within_s=4.0)
    assert renewed.owned == frozenset()
    await one.expect(EntryGone)
    await place.zk("delete", f"{place.directory}/{name}")


async def test_the_operators_deletion_is_noticed_without_a_renewal(place: Place) -> None:
    one = await place.candidate()
    await one.lead()
    await place.operator.delete_entry("e", one.name)
    await one.expect(EntryGone, within_s=1.0)


# ---- permissions


@pytest.fixture
async def guarded(place: Place, tmp_path: Path) -> tuple[Place, Credentials, Credentials]:
    """A directory that belongs to `good`; `weak` may read it."""
    credentials = []
    for user in ("good", "weak"):
        path = tmp_path / user
        path.write_text(f"{user}-s3cret\n")
        credentials.append(Credentials(user, path))
    owner = await place.candidate(credentials=credentials[0])
    claimed = await owner.lead()
    await leave(owner, claimed.token)
    return place, credentials[0], credentials[1]


async def test_digest_credentials_lead_and_renew(guarded: tuple[Place, Credentials, Credentials]) -> None:
    place, good, _ = guarded
    one = await place.candidate(credentials=good)
    claimed = await one.lead()
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    assert "s3cret" not in repr(one.history) + repr(one.store) + repr(vars(one.store))


@pytest.mark.parametrize("who", ["weak", "nobody"])
async def test_the_wrong_credentials_are_refused(guarded: tuple[Place, Credentials, Credentials], who: str) -> None:
    place, good, weak = guarded
    one = await place.candidate(credentials=weak if who == "weak" else None)
    one.submit(Stand(one.epoch, "e"))
    failed = await one.expect(StandFailed)
    assert (failed.problem.outcome, failed.problem.reason) == (Outcome.FAILED, Reason.PERMISSION_DENIED)
    assert place.directory in failed.problem.detail
    assert one.find(Queued) is None
    assert weak.password_file is not None
    assert good.username is not None


async def test_a_claim_that_may_not_write_the_mark(guarded: tuple[Place, Credentials, Credentials]) -> None:
    from kazoo.security import ACL, Id, Permissions

    place, good, _ = guarded
    one = await place.candidate(credentials=good)
    await one.stand()
    elected = await one.expect(Elected)
    await place.zk("add_auth", "digest", "good:good-s3cret")
    await place.zk("set_acls", f"/{place.path}/.leaderd/e/mark", [ACL(Permissions.READ | Permissions.ADMIN, Id("world", "anyone"))])
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    failed = await one.expect(StandFailed)
    assert (failed.problem.outcome, failed.problem.reason) == (Outcome.UNKNOWN, Reason.PERMISSION_DENIED)
    await place.zk("set_acls", f"/{place.path}/.leaderd/e/mark", [ACL(Permissions.ALL, Id("world", "anyone"))])
    one.submit(Withdraw(one.epoch, "e", elected.token))
    await one.expect(Withdrawn)
    one.forget()
    await one.lead()
