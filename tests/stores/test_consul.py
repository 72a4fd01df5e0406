"""The Consul driver against real servers: what is particular to Consul. What all stores share is in `tests/contract`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd.election.commands import Claim, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Disconnected,
    Elected,
    EntryGone,
    Event,
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
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.consul import ConsulStore
from leaderd.stores.consul.agents import Agents, Reply
from leaderd.stores.consul.wire import LOCK_FLAGS, Mark
from testbed import ConsulCluster, require
from testbed.tls import TlsFiles, make
from tests.contract.harness import Bench, Candidate
from tests.contract.proxy import Proxy

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]

POLICY = """
key "{path}/e/.lock" {{ policy = "write" }}
key "{path}/.leaderd/e/mark" {{ policy = "write" }}
key_prefix "{path}/.leaderd/.records/" {{ policy = "write" }}
session "node0" {{ policy = "write" }}
"""


class Place(Bench):
    """A private corner of a cluster, and the operator's view of it."""

    def __init__(self, cluster: ConsulCluster, *, node: int | None = None) -> None:
        self.cluster = cluster
        self.path = f"t{secrets.token_hex(4)}"
        endpoints = cluster.endpoints if node is None else [cluster.endpoints[node]]
        address = parse_address(f"{'consuls' if cluster.tls else 'consul'}://{','.join(endpoints)}/{self.path}")
        super().__init__("consul", address, None, lambda: Proxy(*address.hosts[0]))  # type: ignore[arg-type]

    @property
    def lock(self) -> str:
        return f"{self.path}/e/.lock"

    async def key(self, key: str | None = None) -> dict[str, Any] | None:
        return await asyncio.to_thread(self.cluster.kv_get, key or self.lock)

    async def held(self) -> dict[str, Any]:
        found = await self.key()
        assert found is not None
        return found

    async def api(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.cluster.api, method, path, body)

    async def proxied(self, **more: Any) -> tuple[Proxy, Candidate]:
        proxy = await self.wire()
        assert isinstance(proxy, Proxy)
        return proxy, await self.candidate(wire=proxy, **more)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(1, session_ttl_min="1s") as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(1, acl=True) as running:
        yield running


@pytest.fixture
async def place(cluster: ConsulCluster) -> AsyncIterator[Place]:
    made = Place(cluster)
    yield made
    await made.aclose()


@pytest.fixture
async def denied(strict: ConsulCluster) -> AsyncIterator[Place]:
    made = Place(strict)
    yield made
    await made.aclose()


# ---- the layout that others rely on


async def test_the_lock_is_that_of_consul_lock(place: Place) -> None:
    one = await place.candidate("pod-1")
    claimed = await one.lead()
    held = await place.held()
    assert (held["Flags"], held["Value"], held["ModifyIndex"]) == (LOCK_FLAGS, "pod-1", claimed.token)
    await one.withdraw("e", claimed.token)
    free = await place.held()
    assert free["Flags"] == LOCK_FLAGS
    assert "Session" not in free
    mark = await place.key(f"{place.path}/.leaderd/e/mark")
    assert mark is not None
    assert mark["Value"] == f"{claimed.token:020d}"


async def test_the_session_is_as_safe_as_the_deadline_needs(place: Place) -> None:
    one = await place.candidate(ttl_s=3.0)
    await one.lead()
    sessions = await place.api("GET", f"/v1/session/info/{(await place.held())['Session']}")
    assert sessions[0]["LockDelay"] >= 3e9
    assert not sessions[0].get("NodeChecks")
    assert not sessions[0].get("ServiceChecks")
    assert sessions[0]["Behavior"] == "release"
    assert sessions[0]["TTL"] == "3s" or sessions[0]["TTL"] == "3000ms"


async def test_no_more_is_counted_on_than_the_longest_lock_delay(place: Place) -> None:
    """Consul cuts lock-delays to 60 s: beyond that the ttl promises nothing."""
    one = await place.candidate(ttl_s=90.0)
    assert one.granted_s == 60.0


async def test_a_ttl_below_the_servers_minimum_is_refused_with_the_limits(strict: ConsulCluster, place: Place) -> None:
    del strict
    one = await place.candidate(ttl_s=0.5, open_session=False)
    one.submit(OpenSession(1, 0.5))
    problem = (await one.expect(SessionFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.TTL_REFUSED)
    assert "[1s=24h0m0s]" in problem.detail
    assert "session_ttl_min" in problem.detail


# ---- tokens


async def test_the_token_is_the_index_of_the_acquiring_transaction(place: Place) -> None:
    """`LockIndex` starts again when `consul lock` deletes the key; the token may not."""
    one = await place.candidate()
    tokens, lock_indexes = [], []
    for _ in range(3):
        claimed = await one.lead()
        tokens.append(claimed.token)
        lock_indexes.append((await place.held())["LockIndex"])
        await one.withdraw("e", claimed.token)
        await place.api("DELETE", f"/v1/kv/{place.lock}")
    assert tokens == sorted(set(tokens))
    assert len(set(lock_indexes)) == 1


async def test_locking_again_in_the_same_session_gives_a_new_token_without_freeing(place: Place) -> None:
    """The lock was left to us by an earlier term of this very session: it passes from us to us, and nobody gets in between."""
    one, two = await place.candidate(), await place.candidate()
    first = await one.lead()
    await two.stand()
    one.submit(Stand(one.epoch, "e"))
    second = await one.win()
    assert second.token > first.token
    await two.never(Elected, for_s=0.3)
    assert (await place.held())["ModifyIndex"] == second.token


async def test_a_plain_lock_by_the_holder_changes_no_index(place: Place) -> None:
    """Why the driver unlocks and locks in one transaction: Consul drops a write that changes nothing."""
    one = await place.candidate("pod-1")
    claimed = await one.lead()
    held = await place.held()
    op = {"Verb": "lock", "Key": place.lock, "Session": held["Session"], "Flags": LOCK_FLAGS, "Value": "cG9kLTE="}
    answer = await place.api("PUT", "/v1/txn", [{"KV": op}])
    assert answer["Results"][0]["KV"]["ModifyIndex"] == claimed.token


# ---- releases


async def test_a_late_release_frees_nothing(place: Place) -> None:
    """A release held up on its way until the same session has a newer lock: the session matches, the index does not."""
    one, two = await place.candidate(), await place.candidate()
    first = await one.lead()
    await one.withdraw("e", first.token)
    second = await one.lead()
    await two.stand()
    one.submit(Withdraw(one.epoch, "e", first.token))
    assert (await one.expect(Withdrawn)).problem is None
    await two.never(Elected, for_s=0.3)
    assert (await one.renew(Entry("e", second.token))).owned == {"e"}


async def test_closing_releases_before_it_destroys(place: Place) -> None:
    """Destroying a session that holds would start the lock-delay."""
    one, two = await place.candidate(ttl_s=10.0), await place.candidate()
    await one.lead()
    await two.stand()
    await one.close()
    await two.win(within_s=1.0)
    await place.until_operator(lambda: _one_session(place, {"leaderd candidate-1"}), 3.0, "the end of the first session")


async def _one_session(place: Place, gone: set[str]) -> bool:
    names = {session["Name"] for session in await place.api("GET", "/v1/session/list?consistent")}
    return not names & gone


@pytest.mark.parametrize("outlasted", [False, True], ids=["a moment", "for longer than the session would have lived"])
async def test_a_session_given_up_while_the_store_was_away_is_released_when_it_is_back(place: Place, outlasted: bool) -> None:
    """Left to itself it would hold the lock for twice its ttl, and destroyed without a release for the lock-delay."""
    proxy, one = await place.proxied(ttl_s=10.0)
    two = await place.candidate(ttl_s=10.0)
    await one.lead()
    await two.stand()
    session = one.store._epoch.session  # type: ignore[attr-defined]
    session.call_s = 0.1
    if outlasted:
        session.asked_ttl_s = 0.2
    proxy.refuse()
    await one.close()
    await two.never(Elected, for_s=1.5)
    proxy.heal()
    if outlasted:
        assert one.store._left  # type: ignore[attr-defined]
        await one.open()
    await two.win(within_s=4.0)
    await place.until_operator(lambda: _gone(place, session.id), 3.0, "the end of the first session")


async def _gone(place: Place, session: str) -> bool:
    return session not in {found["ID"] for found in await place.api("GET", "/v1/session/list?consistent")}


async def test_a_lost_acquire_is_found_and_made_anew(place: Place) -> None:
    """The transaction was applied, its answer lost: no token is guessed, and nobody else gets in between."""
    proxy, one = await place.proxied(ttl_s=6.0)
    two = await place.candidate(ttl_s=6.0)
    proxy.close_after(b'"lock"')
    one.submit(Stand(one.epoch, "e"))
    elected = await one.expect(Elected, within_s=5.0)
    held = await place.held()
    assert held["ModifyIndex"] == elected.token > held["CreateIndex"]
    await two.stand()
    await one.withdraw("e", elected.token)
    await two.win()


async def test_a_lost_acquire_that_is_withdrawn_leaves_nothing(place: Place) -> None:
    proxy, one = await place.proxied(ttl_s=6.0)
    proxy.close_after(b'"lock"')
    one.submit(Stand(one.epoch, "e"))
    await one.expect(Queued)
    one.submit(Withdraw(one.epoch, "e", None))
    assert (await one.expect(Withdrawn, within_s=6.0)).problem is None
    await place.until_operator(lambda: _free(place), 1.0, "a free lock")
    two = await place.candidate()
    await two.lead()


async def _free(place: Place) -> bool:
    found = await place.key()
    return found is None or not found.get("Session")


async def test_a_lost_claim_is_found_to_have_been_made(place: Place) -> None:
    proxy, one = await place.proxied(ttl_s=6.0)
    await one.stand()
    elected = await one.expect(Elected)
    proxy.close_after(b'"cas"')
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    failed = await one.expect(StandFailed, within_s=5.0)
    assert failed.problem.outcome is Outcome.UNKNOWN
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    found = await one.expect(Claimed, within_s=5.0)
    assert found.token == elected.token


async def test_a_claim_proves_the_lock(place: Place) -> None:
    """Between Elected and Claim somebody deletes the key: the very transaction that raises the mark notices."""
    one = await place.candidate()
    await one.stand()
    elected = await one.expect(Elected)
    await place.api("DELETE", f"/v1/kv/{place.lock}")
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    await one.expect(EntryGone)
    await one.never(Claimed, for_s=0.2)
    assert await place.key(f"{place.path}/.leaderd/e/mark") is None


# ---- a claim in the very step of the acquisition, as the core gives it


def _claiming_at_once(one: Candidate) -> Candidate:
    """As the core does: `Claim` while `Elected` is being delivered."""
    take = one.store._sink  # type: ignore[attr-defined]

    def claim(event: Event) -> None:
        take(event)
        if isinstance(event, Elected):
            one.submit(Claim(event.epoch, event.election, event.token, event.mark))

    one.store._sink = claim  # type: ignore[attr-defined]
    return one


async def _waiting(place: Place, **more: Any) -> tuple[Candidate, Candidate, int]:
    """A leader, one who waits and has seen the leader's mark, and the leader's token."""
    one, two = _claiming_at_once(await place.candidate(**more)), _claiming_at_once(await place.candidate(**more))
    await one.stand()
    first = (await one.expect(Claimed)).token
    await two.stand()
    await place.until(lambda: two.find(QueueSeen, led=True), 3.0)
    await place.pause(0.4)
    return one, two, first


async def test_a_hand_over_takes_one_transaction(place: Place) -> None:
    """The acquisition raises the mark as well: nothing is left for the claim to send, and its proof is dated by that request."""
    one, two, first = await _waiting(place)
    before, asked_s = two.store.traffic.requests, place.now_s()
    one.submit(Withdraw(one.epoch, "e", first))
    claimed = await two.expect(Claimed)
    assert two.store.traffic.requests - before == 1
    assert asked_s < claimed.sent_at_s <= place.now_s()
    elected = two.find(Elected)
    assert elected is not None
    assert (elected.token, elected.mark) == (claimed.token, first)
    mark = await place.key(f"{place.path}/.leaderd/e/mark")
    assert mark is not None
    assert (mark["Value"], mark["ModifyIndex"]) == (f"{first:020d}+", claimed.token)
    await place.until_operator(lambda: _mark_is(place, claimed.token), 1.0, "the mark as a number")


async def test_a_term_that_never_wrote_its_number_is_in_the_mark(place: Place) -> None:
    """Killed the moment it led: the index of the mark's key tells its token."""
    one, two, first = await _waiting(place)
    one.submit(Withdraw(one.epoch, "e", first))
    second = (await two.expect(Claimed)).token
    await two.end()
    three = await place.candidate()
    await three.stand()
    assert (await three.expect(Elected, within_s=6.0)).mark == second


async def test_a_mark_that_was_not_lifted_is_raised_by_the_claim(place: Place) -> None:
    """Imported from elsewhere, the key may hold the very text that the acquisition writes: Consul drops that write."""
    one, two, first = await _waiting(place)
    key = f"{place.path}/.leaderd/e/mark"
    await place.api("PUT", f"/v1/kv/{key}", f"{first:020d}+".encode())
    seen = await place.key(key)
    assert seen is not None
    lock = two.store._epoch.contests["e"]._lock  # type: ignore[attr-defined]
    lock._seen = Mark(first, seen["ModifyIndex"])
    one.submit(Withdraw(one.epoch, "e", first))
    claimed = await two.expect(Claimed)
    mark = await place.key(key)
    assert mark is not None
    assert (mark["Value"], claimed.token > seen["ModifyIndex"]) == (f"{claimed.token:020d}", True)


async def test_a_mark_is_raised_before_its_raiser_leaves(place: Place) -> None:
    """Who holds a token that is not above its own mark raises the store's and leaves: whoever is next has to meet it."""
    one, two = await place.candidate(), await place.candidate()
    await one.stand()
    elected = await one.expect(Elected)
    await two.stand()
    high = elected.token + 1_000_000
    one.raise_mark("e", high)
    one.submit(Withdraw(one.epoch, "e", elected.token))
    assert (await two.expect(Elected)).mark == high


async def test_a_mark_that_rose_while_waiting_is_never_lowered(place: Place) -> None:
    """Seen before it rose: the acquisition is refused in one piece, made again without, and the core is told the true mark."""
    one, two, first = await _waiting(place)
    one.raise_mark("e", first + 1_000_000)
    await place.until_operator(lambda: _mark_is(place, first + 1_000_000), 3.0, "the raised mark")
    one.submit(Withdraw(one.epoch, "e", first))
    elected = await two.expect(Elected)
    assert elected.mark == first + 1_000_000
    await two.never(Claimed, for_s=0.3)
    assert await _mark_is(place, first + 1_000_000)


async def test_a_claim_after_its_step_proves_anew(place: Place) -> None:
    """Whoever claims later than in the step of `Elected` gets no answer out of memory: the key may be gone by then."""
    one, two, first = await _waiting(place)
    two.store._sink = two._take  # type: ignore[attr-defined]
    one.submit(Withdraw(one.epoch, "e", first))
    elected = await two.expect(Elected)
    await place.api("DELETE", f"/v1/kv/{place.lock}")
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(EntryGone)
    await two.never(Claimed, for_s=0.2)


# ---- the lock-delay


async def test_the_end_of_the_lock_delay_is_met_by_a_timer(place: Place) -> None:
    """Its end wakes no blocking query. A destroyed session holds the lock for its lock-delay, three seconds here."""
    one, two = await place.candidate(ttl_s=3.0), await place.candidate()
    await one.lead()
    await two.stand()
    two.keep_renewing()
    freed_s = place.now_s()
    await place.api("PUT", f"/v1/session/destroy/{(await place.held())['Session']}")
    assert (await one.expect(SessionGone, within_s=1.0)).problem.reason is Reason.SESSION_GONE
    await two.win(within_s=5.0)
    assert 2.5 <= place.now_s() - freed_s <= 4.5
    assert two.find(StandFailed) is None


async def test_the_wait_for_the_lock_delay_shows_nobody_leading(place: Place) -> None:
    one, two = await place.candidate(ttl_s=3.0), await place.candidate()
    await one.lead()
    await two.stand()
    await place.until(lambda: two.find(QueueSeen, led=True), 3.0)
    await place.api("PUT", f"/v1/session/destroy/{(await place.held())['Session']}")
    seen = await two.expect(QueueSeen, led=False)
    assert [contender.own for contender in seen.contenders] == [True]


# ---- the session


async def test_a_waiting_candidate_notices_its_session_destroyed_within_a_second(place: Place) -> None:
    one, two = await place.candidate("holder"), await place.candidate("waiter")
    await one.lead()
    await two.stand()
    sessions = await place.api("GET", "/v1/session/list?consistent")
    (own,) = [session["ID"] for session in sessions if session["Name"] == "leaderd waiter"]
    await place.api("PUT", f"/v1/session/destroy/{own}")
    await two.expect(SessionGone, within_s=1.0)


@pytest.mark.parametrize("holding", [False, True])
async def test_a_session_is_gone_only_if_leader_and_quorum_agree(
    place: Place, holding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader just elected may not have read of the session yet; who believed it would give up a lock that is held."""
    one = await place.candidate()
    entries = (Entry("e", (await one.lead()).token),) if holding else ()
    call = Agents.call

    async def forgetful(self: Agents, method: str, path: str, *args: Any, **more: Any) -> Reply:
        reply = await call(self, method, path, *args, **more)
        if path.startswith("session/renew/"):
            return replace(reply, status=404, body=f"Session id '{path.rpartition('/')[2]}' not found".encode())
        return reply

    monkeypatch.setattr(Agents, "call", forgetful)
    one.submit(Renew(one.epoch, entries))
    refused = await one.expect(RenewFailed)
    assert refused.problem.reason is Reason.STALE_STORE_NODE
    monkeypatch.undo()
    one.submit(Renew(one.epoch, entries))
    assert (await one.expect(Renewed)).owned == ({"e"} if holding else set())


async def test_a_session_that_the_token_may_not_see_is_not_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await place.candidate()
    call = Agents.call

    async def blind(self: Agents, method: str, path: str, *args: Any, **more: Any) -> Reply:
        reply = await call(self, method, path, *args, **more)
        return replace(reply, body=b"[]") if path.startswith("session/info/") else reply

    monkeypatch.setattr(Agents, "call", blind)
    one.submit(Renew(one.epoch, ()))
    refused = await one.expect(RenewFailed)
    assert refused.problem.reason is Reason.PERMISSION_DENIED
    assert "session read" in refused.problem.detail


async def test_the_agents_restart_ends_no_session(tmp_path: Path) -> None:
    require("consul")
    with ConsulCluster(1, session_ttl_min="1s", workdir=tmp_path) as own:
        place = Place(own)
        try:
            one = await place.candidate(ttl_s=10.0)
            claimed = await one.lead()
            await asyncio.to_thread(own.kill, 0)
            one.submit(Renew(one.epoch, one.entries()))
            failed = await one.expect(RenewFailed)
            assert failed.problem.reason is Reason.STORE_UNREACHABLE
            await one.expect(Disconnected)
            await asyncio.to_thread(own.restart, 0)
            assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
            two = await place.candidate()
            await two.stand()
            await one.withdraw("e", claimed.token)
            assert (await two.win()).token > claimed.token
        finally:
            await place.aclose()


# ---- foreign things


async def test_a_semaphore_in_the_elections_place_is_named(place: Place) -> None:
    await place.api("PUT", f"/v1/kv/{place.lock}?flags={0xE0F69A2BAA414DE0}", {"Limit": 3})
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    problem = (await one.expect(StandFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
    assert place.lock in problem.detail
    assert (await place.held())["Flags"] == 0xE0F69A2BAA414DE0
    await place.api("DELETE", f"/v1/kv/{place.lock}")
    await one.lead()


async def test_a_foreign_key_that_appears_while_waiting_is_never_overwritten(place: Place) -> None:
    one, two = await place.candidate(), await place.candidate()
    await one.lead()
    await two.stand()
    await place.api("PUT", f"/v1/kv/{place.lock}", b"someone's notes")
    problem = (await two.expect(StandFailed)).problem
    assert problem.reason is Reason.FOREIGN_ENTRY
    gone = await one.expect(EntryGone, within_s=1.0)
    assert "overwritten" in gone.problem.detail


async def test_an_overwritten_lock_is_taken_anew_without_being_freed(place: Place) -> None:
    one = await place.candidate("pod-1")
    first = await one.lead()
    await place.api("PUT", f"/v1/kv/{place.lock}", b"someone's notes")
    await one.expect(EntryGone, within_s=1.0)
    second = await one.lead()
    assert second.token > first.token
    held = await place.held()
    assert (held["Value"], held["Flags"]) == ("pod-1", LOCK_FLAGS)


async def test_an_overwritten_lock_is_freed_in_the_end_if_nobody_wants_it(place: Place) -> None:
    one = await place.candidate(ttl_s=1.0)
    one.keep_renewing()
    await one.lead()
    await place.api("PUT", f"/v1/kv/{place.lock}", b"someone's notes")
    await one.expect(EntryGone, within_s=1.0)
    await place.until_operator(lambda: _free(place), 4.0, "a free lock")


async def test_a_mark_that_is_no_number_is_named_and_the_lock_let_go(place: Place) -> None:
    mark = f"{place.path}/.leaderd/e/mark"
    await place.api("PUT", f"/v1/kv/{mark}", b"garbage")
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    problem = (await one.expect(StandFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
    assert mark in problem.detail
    assert await _free(place)
    await place.api("DELETE", f"/v1/kv/{mark}")
    await one.lead()


# ---- access


def _credentials(tmp_path: Path, token: str) -> Credentials:
    file = tmp_path / "token"
    file.write_text(token + "\n")
    return Credentials(token_file=file)


async def test_the_documented_policy_is_enough(denied: Place, tmp_path: Path) -> None:
    token = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    credentials = _credentials(tmp_path, token)
    one = await denied.candidate(ttl_s=10.0, credentials=credentials)
    two = await denied.candidate(ttl_s=10.0, credentials=credentials)
    claimed = await one.lead()
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    await two.stand()
    await one.withdraw("e", claimed.token)
    assert (await two.win()).token > claimed.token
    two.raise_mark("e", 10**9)
    await denied.until_operator(lambda: _mark_is(denied, 10**9), 3.0, "the raised mark")


async def _mark_is(place: Place, value: int) -> bool:
    found = await place.key(f"{place.path}/.leaderd/e/mark")
    return found is not None and found["Value"] == f"{value:020d}"


async def test_an_election_outside_the_policy_is_refused_alone(denied: Place, tmp_path: Path) -> None:
    token = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    one = await denied.candidate(ttl_s=10.0, credentials=_credentials(tmp_path, token))
    one.submit(Stand(one.epoch, "other"))
    problem = (await one.expect(StandFailed, election="other")).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.PERMISSION_DENIED)
    await one.lead()


@pytest.mark.parametrize(
    ("token", "reason"), [("", Reason.PERMISSION_DENIED), ("00000000-1111-2222-3333-444444444444", Reason.AUTH_FAILED)]
)
async def test_a_wrong_token_is_told_and_mended_by_writing_the_file(
    denied: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, reason: Reason
) -> None:
    good = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", good)  # never read
    credentials = _credentials(tmp_path, token)
    one = await denied.candidate(ttl_s=10.0, credentials=credentials, open_session=False)
    one.submit(OpenSession(1, 10.0))
    problem = (await one.expect(SessionFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, reason)
    assert token == "" or token not in repr(problem)
    one.epoch = 1
    _credentials(tmp_path, good)
    await one.open()
    await one.lead()


async def test_a_token_rotated_under_a_leader_costs_nothing(denied: Place, tmp_path: Path) -> None:
    tokens = [await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path) + "#" * n) for n in (1, 2)]
    one = await denied.candidate(ttl_s=10.0, credentials=_credentials(tmp_path, tokens[0]))
    claimed = await one.lead()
    accessors = [t["AccessorID"] for t in await denied.api("GET", "/v1/acl/tokens") if t["CreateIndex"]]
    _credentials(tmp_path, tokens[1])
    secrets_by_accessor = {a: (await denied.api("GET", f"/v1/acl/token/{a}"))["SecretID"] for a in accessors}
    (old,) = [a for a, secret in secrets_by_accessor.items() if secret == tokens[0]]
    await denied.api("DELETE", f"/v1/acl/token/{old}")
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    assert one.find(EntryGone) is None
    assert one.find(SessionGone) is None


# ---- TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    require("consul")
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(files: TlsFiles) -> Iterator[ConsulCluster]:
    with ConsulCluster(1, session_ttl_min="1s", tls=files) as running:
        yield running


async def _over_tls(place: Place, tls: Tls) -> Candidate:
    one = await place.candidate(ttl_s=10.0, open_session=False)
    await one.store.aclose()
    one.store = ConsulStore(one.address, one.identity, one.timing, Credentials(), tls, place.now_s)
    await one.start()
    return one


async def test_a_term_over_tls_with_a_client_certificate(secure: ConsulCluster, files: TlsFiles) -> None:
    place = Place(secure)
    try:
        one = await _over_tls(place, Tls(files.ca, files.client_cert, files.client_key))
        await one.open()
        claimed = await one.lead()
        assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    finally:
        await place.aclose()


@pytest.mark.parametrize("case", ["other ca", "no ca", "no client certificate", "expired client certificate", "no such file"])
async def test_tls_that_does_not_fit_is_refused(secure: ConsulCluster, files: TlsFiles, tmp_path: Path, case: str) -> None:
    cert, key = files.pair("expired-client")
    tls = {
        "other ca": Tls(files.other_ca, files.client_cert, files.client_key),
        "no ca": Tls(None, files.client_cert, files.client_key),
        "no client certificate": Tls(files.ca),
        "expired client certificate": Tls(files.ca, cert, key),
        "no such file": Tls(tmp_path / "absent.crt"),
    }[case]
    place = Place(secure)
    try:
        one = await _over_tls(place, tls)
        one.submit(OpenSession(1, 10.0))
        problem = (await one.expect(SessionFailed, within_s=6.0)).problem
        # TLS 1.3 servers refuse a client's certificate only after the handshake: a broken connection, then.
        expected = (
            {Reason.AUTH_FAILED} if "client" not in case else {Reason.AUTH_FAILED, Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE}
        )
        assert problem.reason in expected, problem
        assert "\n" not in problem.detail
    finally:
        await place.aclose()


# ---- traffic


async def test_an_idle_leader_and_an_idle_follower_ask_twice_per_renewal(place: Place) -> None:
    one, two = await place.candidate(), await place.candidate()
    claimed = await one.lead()
    await two.stand()
    await two.renew()
    await place.pause(1.5)  # writing the mark wakes the query for records, while there is none
    before = one.store.traffic.requests, two.store.traffic.requests
    for _ in range(5):
        await one.renew(Entry("e", claimed.token))
        await two.renew()
        await place.pause(0.2)
    after = one.store.traffic.requests, two.store.traffic.requests
    assert [b - a for a, b in zip(before, after, strict=True)] == [10, 10]


async def test_many_terms_are_proven_in_parts(place: Place) -> None:
    """A transaction takes 64 operations, two for each term: beyond 32 terms each further 32 cost one more request."""
    one = await place.candidate(ttl_s=10.0)
    names = [f"e{n}" for n in range(70)]
    for name in names:
        one.submit(Stand(one.epoch, name))
    tokens = {name: (await one.expect(Elected, election=name, within_s=10.0)).token for name in names}
    entries = tuple(Entry(name, tokens[name]) for name in names)
    await place.pause(1.5)  # each lock is being watched by now, and nothing wakes the query for records any more
    before = one.store.traffic.requests
    assert len((await one.renew(*entries)).owned) == 70
    assert one.store.traffic.requests - before == 1 + 3
    await place.api("DELETE", f"/v1/kv/{place.path}/e40/.lock")
    renewed = await one.renew(*entries)
    assert renewed.lost == {"e40"}
    assert len(renewed.owned) == 69


async def test_the_session_opens_again_after_it_was_gone(place: Place) -> None:
    one = await place.candidate()
    await one.lead()
    await place.api("PUT", f"/v1/session/destroy/{(await place.held())['Session']}")
    await one.expect(SessionGone, within_s=1.0)
    await one.close()
    assert isinstance(await one.open(), SessionOpened)
    await one.lead(within_s=6.0)  # the lock-delay of the old one, and the retry
