"""The Consul driver's locks, against real servers: their layout, tokens, releases, claims and the lock-delay."""

from __future__ import annotations

from typing import Any

import pytest

from leaderd.election.commands import Claim, Entry, OpenSession, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    Event,
    Queued,
    QueueSeen,
    SessionFailed,
    SessionGone,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.consul.wire import LOCK_FLAGS, Mark
from testbed import ConsulCluster
from tests.contract.harness import Candidate
from tests.stores.consul_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]


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
    session = one.store._epoch.session  # type: ignore[attr-defined]
    await one.close()
    await two.win(within_s=1.0)
    await place.until_operator(lambda: place.has_ended(session.id), 3.0, "the end of the first session")


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
    await place.until_operator(lambda: place.has_ended(session.id), 3.0, "the end of the first session")


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
    await place.until_operator(place.free, 1.0, "a free lock")
    two = await place.candidate()
    await two.lead()


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
    await place.until_operator(lambda: place.mark_is(claimed.token), 1.0, "the mark as a number")


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
    await place.until_operator(lambda: place.mark_is(first + 1_000_000), 3.0, "the raised mark")
    one.submit(Withdraw(one.epoch, "e", first))
    elected = await two.expect(Elected)
    assert elected.mark == first + 1_000_000
    await two.never(Claimed, for_s=0.3)
    assert await place.mark_is(first + 1_000_000)


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
