"""Sessions: renewal, ownership, epochs, expiry, what is asked of the store, and how a driver ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from leaderd.election.commands import Claim, CloseSession, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import Claimed, Elected, EntryGone, Queued, Renewed, SessionGone, SessionOpened, StandFailed, Withdrawn
from tests.contract.harness import Bench, valid_for_s


async def test_the_granted_ttl_is_told(bench: Bench) -> None:
    one = await bench.candidate(open_session=False)
    opened = await one.open()
    assert opened.ttl_s >= one.ttl_s * 0.99
    assert valid_for_s(one) > 0 or bench.kind == "consul"  # Consul's reserve exceeds this short ttl: real ones are 10 s and more


async def test_send_instants_lie_between_command_and_answer(bench: Bench) -> None:
    one = await bench.candidate(open_session=False)
    before_s = bench.now_s()
    opened = await one.open()
    assert before_s <= opened.sent_at_s <= bench.now_s()
    before_s = bench.now_s()
    claimed = await one.lead()
    assert before_s <= claimed.sent_at_s <= bench.now_s()
    before_s = bench.now_s()
    renewed = await one.renew(*one.entries())
    assert before_s <= renewed.sent_at_s <= bench.now_s()


async def test_a_renewal_proves_the_entries_asked_about(bench: Bench) -> None:
    one = await bench.steady()
    x, y = await one.lead("x"), await one.lead("y")
    renewed = await one.renew(Entry("x", x.token), Entry("y", y.token))
    assert renewed.owned == frozenset({"x", "y"})
    assert renewed.lost == frozenset()
    assert (await one.renew(Entry("y", y.token))).owned == frozenset({"y"})


async def test_a_renewal_without_entries(bench: Bench) -> None:
    one = await bench.steady()
    renewed = await one.renew()
    assert (renewed.owned, renewed.lost) == (frozenset(), frozenset())


async def test_a_renewal_names_what_is_lost(bench: Bench) -> None:
    one = await bench.steady()
    x, y = await one.lead("x"), await one.lead("y")
    await bench.operator.delete_entry("x", one.name)
    renewed = await one.renew(Entry("x", x.token), Entry("y", y.token))
    assert renewed.lost == frozenset({"x"})
    assert renewed.owned == frozenset({"y"})


async def test_an_entry_with_another_token_is_not_ours(bench: Bench) -> None:
    one = await bench.steady()
    claimed = await one.lead()
    renewed = await one.renew(Entry("e", claimed.token - 1))
    assert renewed.owned == frozenset()
    assert renewed.lost == frozenset({"e"})


async def test_an_entry_of_another_session_is_not_ours(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    claimed = await one.lead()
    renewed = await two.renew(Entry("e", claimed.token))
    assert renewed.lost == frozenset({"e"})


async def test_an_expired_waiter_is_not_elected(bench: Bench) -> None:
    """etcd #11456: the lock was handed to a candidate whose lease had died while it waited."""
    one = await bench.candidate()
    before = await bench.operator.session_ids()
    two, hush, speak = await bench.mortal()
    new = await bench.operator.session_ids() - before
    first = await one.lead()
    one.keep_renewing()
    queued = await two.stand()
    hush()
    assert new
    await bench.until_operator(lambda: _all_gone(bench, new), bench.profile.takeover_s, "the waiter's death")
    await one.withdraw("e", first.token)
    speak()
    await bench.pause(0.5)
    for elected in [event for _, event in two.history if isinstance(event, Elected)]:
        two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    if queued.token is not None:
        two.submit(Claim(two.epoch, "e", queued.token, first.token))
    two.submit(Renew(two.epoch, two.entries()))
    await two.expect(SessionGone, within_s=6.0)
    assert two.find(Claimed) is None


async def _all_gone(bench: Bench, sessions: set[str]) -> bool:
    return not sessions & await bench.operator.session_ids()


async def test_an_expired_leader_cannot_claim_again(bench: Bench) -> None:
    one, hush, speak = await bench.mortal()
    two = await bench.candidate()
    await one.stand()
    elected = await one.expect(Elected)
    hush()
    two.keep_renewing()
    await two.lead(within_s=bench.profile.takeover_s)
    speak()
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    await bench.until(lambda: one.find(SessionGone) or one.find(EntryGone) or one.find(StandFailed), 6.0, "the refusal")
    assert one.find(Claimed) is None


@pytest.mark.real("the models break this rule on purpose: the core has to bear it")
async def test_no_event_after_close_session(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    await one.lead()
    two.submit(Stand(two.epoch, "e"))
    two.submit(Renew(two.epoch, ()))
    two.submit(CloseSession(two.epoch))
    two.forget()
    told = len(two.history)
    await one.withdraw()
    await bench.pause(0.7)
    assert len(two.history) == told


async def test_commands_of_a_closed_epoch_are_ignored(bench: Bench) -> None:
    one = await bench.steady()
    old = one.epoch
    await one.close()
    await one.open()
    one.forget()
    one.submit(Stand(old, "e"))
    one.submit(Renew(old, ()))
    await bench.pause(0.5)
    assert [event for event in one.news if getattr(event, "epoch", 0) == old] == []
    assert await bench.operator.instances("e") == []


async def test_a_new_session_leaves_nothing_of_the_old_one(bench: Bench) -> None:
    one = await bench.candidate()
    first = await one.lead()
    await one.withdraw("e", first.token)
    await one.stand()
    await one.close()
    await one.open()
    second = await one.lead(within_s=bench.profile.takeover_s)
    assert second.token > first.token
    await bench.until_operator(lambda: _only(bench, one.name), 3.0, "one entry")


async def _only(bench: Bench, name: str) -> bool:
    return await bench.operator.instances("e") == [name]


async def test_closing_and_opening_in_one_breath(bench: Bench) -> None:
    one = await bench.candidate()
    for _ in range(5):
        one.submit(CloseSession(one.epoch))
        one.epoch += 1
        one.submit(OpenSession(one.epoch, one.ttl_s))
    await one.expect(SessionOpened, epoch=one.epoch)
    await one.lead()


async def test_a_late_withdraw_frees_nothing(bench: Bench) -> None:
    """etcd #22082: a retried unlock removed the newer lock of the same session."""
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    await one.withdraw("e", first.token)
    second = await one.lead()
    await two.stand()
    await one.withdraw("e", first.token)
    await two.never(Elected, for_s=0.5)
    assert (await one.renew(Entry("e", second.token))).owned == frozenset({"e"})


async def test_withdrawing_what_is_not_ours(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    assert (await two.withdraw("e", first.token)).problem is None
    assert (await two.withdraw("e", None)).problem is None
    assert (await one.renew(Entry("e", first.token))).owned == frozenset({"e"})


async def test_withdrawing_twice(bench: Bench) -> None:
    one = await bench.steady()
    first = await one.lead()
    one.submit(Withdraw(one.epoch, "e", first.token))
    one.submit(Withdraw(one.epoch, "e", first.token))
    for _ in range(2):
        await one.expect(Withdrawn)


async def test_withdrawing_without_knowing_the_token(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    await one.lead()
    await two.stand()
    await one.withdraw("e", None)
    await two.win()


async def test_standing_twice_gives_one_entry(bench: Bench) -> None:
    if not bench.profile.queued_first:
        pytest.skip("the simulated Consul acquires anew, with a new token")
    one = await bench.steady()
    first = await one.stand()
    await one.expect(Elected)
    again = await one.stand()
    if first.token is not None and again.token is not None:
        assert again.token >= first.token  # the same entry, or a new one in its place
    await one.win()
    assert await bench.operator.instances("e") == [one.name]


async def test_standing_and_leaving_in_one_breath(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    for _ in range(5):
        one.submit(Stand(one.epoch, "e"))
        one.submit(Withdraw(one.epoch, "e", None))
        await one.expect(Withdrawn)
    await bench.until_operator(lambda: _listed(bench, []), 3.0, "an empty queue")
    await two.lead()


async def _listed(bench: Bench, names: list[str]) -> bool:
    return await bench.operator.instances("e") == names


async def test_a_renewal_of_fifty_elections_is_three_requests_at_most(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=5.0)
    one.keep_renewing()
    names = [f"job-{n}" for n in range(50)]
    for name in names:
        one.submit(Stand(one.epoch, name))
    for name in names:
        await one.win(name, within_s=10.0)
    one.stop_renewing()
    await bench.pause(0.5)
    one.forget()
    before = one.store.traffic.requests
    for _ in range(4):
        renewed = await one.renew(*one.entries())
        assert renewed.owned == frozenset(names)
    assert (one.store.traffic.requests - before) / 4 <= 3


@pytest.mark.real("the models' traffic is not that of the drivers")
async def test_an_idle_follower_asks_twice_per_renewal_at_most(bench: Bench) -> None:
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    one.keep_renewing()
    two.keep_renewing()
    await one.lead()
    await two.stand()
    await bench.pause(1.0)
    requests, renewals = two.store.traffic.requests, _renewals(two.history)
    await bench.pause(3.5)
    renewals = _renewals(two.history) - renewals
    assert renewals >= 2
    assert two.store.traffic.requests - requests <= 2 * renewals + 2


def _renewals(history: list[tuple[float, object]]) -> int:
    return sum(isinstance(event, Renewed) for _, event in history)


@pytest.mark.real("the models count requests only")
async def test_the_traffic_counter_tells_the_last_answer(bench: Bench) -> None:
    one = await bench.steady()
    before_s = bench.now_s()
    await one.renew()
    assert one.store.traffic.last_answer_s is not None
    assert one.store.traffic.last_answer_s >= before_s


async def test_aclose_does_not_end_the_session(bench: Bench) -> None:
    """A frozen or killed daemon, and one that is upgraded in place, must not free what it promised."""
    one, two = await bench.candidate(), await bench.candidate()
    await one.lead()
    two.keep_renewing()
    await two.stand()
    await one.renew(*one.entries())
    await one.abandon()
    await two.never(Elected, for_s=max(0.5, valid_for_s(one) * 0.6))


@pytest.mark.real("nothing runs")
async def test_aclose_leaves_nothing_running(bench: Bench) -> None:
    async def one_life() -> None:
        one = await bench.steady()
        await one.lead()
        await one.withdraw()
        await one.close()
        await one.end()

    for _ in range(2):  # what libraries start once and keep is not the driver's
        await one_life()
    await bench.pause(0.5)
    threads, tasks, files = threading.active_count(), asyncio.all_tasks(), _open_files()
    for _ in range(4):
        await one_life()
    await bench.until(lambda: threading.active_count() <= threads, 3.0, "the end of its threads")
    await bench.until(lambda: asyncio.all_tasks() <= tasks, 3.0, "the end of its tasks")
    await bench.until(lambda: len(_open_files()) <= len(files) + 1, 3.0, "the end of its descriptors")


def _open_files() -> list[str]:
    gc.collect()  # grpcio closes a channel's socket when the last reference to it goes
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass  # that of the listing itself
    return found


async def test_aclose_with_commands_under_way(bench: Bench) -> None:
    one = await bench.candidate()
    for n in range(10):
        one.submit(Stand(one.epoch, f"job-{n}"))
    one.submit(Renew(one.epoch, ()))
    await one.abandon()
    told = len(one.history)
    await bench.pause(0.3)
    assert len(one.history) == told


async def test_submitting_after_aclose_is_harmless(bench: Bench) -> None:
    one = await bench.candidate()
    await one.abandon()
    one.submit(Renew(one.epoch, ()))
    one.submit(Stand(one.epoch, "e"))
    await one.store.aclose()
    await bench.pause(0.2)


async def test_a_driver_that_never_opened_a_session_closes(bench: Bench) -> None:
    one = await bench.candidate(open_session=False)
    await one.abandon()
    assert one.history == []


async def test_queued_comes_before_elected(bench: Bench) -> None:
    if not bench.profile.queued_first:
        pytest.skip("the simulated Consul says Elected only")
    one = await bench.steady()
    for n in range(5):
        await one.lead(f"job-{n}")
    for n in range(5):
        kinds = [
            type(event)
            for _, event in one.history
            if getattr(event, "election", None) == f"job-{n}" and isinstance(event, Queued | Elected | Claimed)
        ]
        assert kinds == [Queued, Elected, Claimed]
