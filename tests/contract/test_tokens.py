"""Tokens only rise, whatever happens to keys, sessions and servers; and the high-water mark remembers them."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Claim, Stand
from leaderd.election.events import Claimed, Elected, EntryGone, StandFailed
from tests.contract.harness import Bench


async def test_tokens_rise_from_leader_to_leader(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    tokens = []
    for leader in (one, two, one, two):
        claimed = await leader.lead()
        tokens.append(claimed.token)
        await leader.withdraw("e", claimed.token)
    assert tokens == sorted(set(tokens))


async def test_tokens_rise_over_a_crash(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    first = await one.lead()
    two.keep_renewing()
    await two.stand()
    await one.abandon()
    second = await two.win(within_s=bench.profile.takeover_s)
    assert second.token > first.token


async def test_tokens_rise_over_the_deletion_of_the_entry(bench: Bench) -> None:
    one = await bench.candidate()
    one.keep_renewing()
    first = await one.lead()
    await bench.operator.delete_entry("e", one.name)
    await one.expect(EntryGone, election="e")
    second = await one.lead()
    assert second.token > first.token


async def test_tokens_rise_over_the_deletion_of_the_election(bench: Bench) -> None:
    """What Curator's containers do when their last child has gone, and what an operator may do at any time."""
    one = await bench.steady()
    first = await one.lead()
    await one.withdraw("e", first.token)
    await bench.operator.delete_election("e")
    second = await one.lead()
    assert second.token > first.token
    await bench.operator.delete_election("e")
    two = await bench.steady()
    third = await two.lead()
    assert third.token > second.token


async def test_tokens_rise_after_everybody_left(bench: Bench) -> None:
    one = await bench.steady()
    first = await one.lead()
    await one.withdraw("e", first.token)
    await one.close()
    two = await bench.steady()
    elected = None
    await two.stand()
    elected = await two.expect(Elected)
    assert elected.token > first.token
    assert elected.mark == first.token


async def test_tokens_rise_in_a_fresh_session_of_one_daemon(bench: Bench) -> None:
    one = await bench.steady()
    tokens = []
    for _ in range(3):
        claimed = await one.lead()
        tokens.append(claimed.token)
        await one.withdraw("e", claimed.token)
        await one.close()
        await one.open()
    assert tokens == sorted(set(tokens))


async def test_the_mark_is_the_last_leaders_token(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    await two.stand()
    await one.withdraw("e", first.token)
    elected = await two.expect(Elected)
    assert elected.mark == first.token


async def test_marks_of_elections_are_apart(bench: Bench) -> None:
    one = await bench.steady()
    await one.lead("x")
    await one.stand("y")
    assert (await one.expect(Elected, election="y")).mark == 0


async def test_a_raised_mark_is_seen_by_the_next(bench: Bench) -> None:
    """Restored from an old backup: who knows of higher tokens says so, and who would lead with a lower one sees it."""
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    await two.stand()
    high = first.token + 1_000_000_000
    one.raise_mark("e", high)
    await one.withdraw("e", first.token)
    elected = await two.expect(Elected)
    if elected.mark < high:  # the raise was still under way
        two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
        elected = await two.expect(Elected)
    assert elected.mark == high


async def test_a_mark_is_never_lowered(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    one.raise_mark("e", 1)
    one.raise_mark("e", 0)
    await one.renew(*one.entries())
    await two.stand()
    await one.withdraw("e", first.token)
    assert (await two.expect(Elected)).mark == first.token


async def test_a_claim_with_a_stale_mark_never_leads_below_the_true_one(bench: Bench) -> None:
    """The mark rose between `Elected` and `Claim`: the claim is refused in one piece with its proof, and the true mark is told."""
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    first = await one.lead()
    await two.stand()
    await one.withdraw("e", first.token)
    elected = await two.expect(Elected)
    high = elected.token + 1_000_000_000
    one.raise_mark("e", high)
    await one.renew()
    await bench.pause(0.3)
    told = two.find(Elected)
    if told is None:
        two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
        told = await two.expect(Elected)
    assert (told.token, told.mark) == (elected.token, high)
    assert two.find(Claimed) is None


async def test_a_claim_with_a_foreign_token_is_refused(bench: Bench) -> None:
    one = await bench.steady()
    await one.stand()
    elected = await one.expect(Elected)
    one.submit(Claim(one.epoch, "e", elected.token + 1, elected.mark))
    await bench.until(lambda: one.find(EntryGone) or one.find(StandFailed) or one.find(Elected), 3.0, "a refusal")
    await one.never(Claimed, for_s=0.3)


@pytest.mark.real("the models leave being first to the look before the claim")
async def test_a_claim_while_waiting_is_refused(bench: Bench) -> None:
    bench.needs_fifo()
    one, two = await bench.steady(), await bench.steady()
    first = await one.lead()
    queued = await two.stand()
    assert queued.token is not None
    two.submit(Claim(two.epoch, "e", queued.token, first.token))
    await bench.until(lambda: two.find(StandFailed) or two.find(EntryGone), 3.0, "a refusal")
    await two.never(Claimed, for_s=0.3)
    one.forget()
    assert (await one.renew(*one.entries())).owned == frozenset({"e"})


@pytest.mark.real("restarts are part of every simulated run")
async def test_tokens_rise_over_a_restart_of_the_store(bench: Bench) -> None:
    if bench.restart is None:
        pytest.skip("this store's server cannot be restarted here")
    one = await bench.steady()
    first = await one.lead()
    await one.withdraw("e", first.token)
    await one.close()
    await one.end()
    await bench.restart()
    two = await bench.candidate(open_session=False)
    await two.open_at_last(30.0)
    two.submit(Stand(two.epoch, "e"))
    elected = await two.expect(Elected, within_s=10.0)
    assert elected.token > first.token
    assert elected.mark == first.token
