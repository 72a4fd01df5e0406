"""One leader at a time, and soon another: what ShedLock's provider kit, Curator's selector tests and Consul's lock tests hold."""

from __future__ import annotations

import asyncio

from leaderd.election.commands import Renew, Stand
from leaderd.election.events import Claimed, Elected, Renewed, SessionGone
from tests.contract.harness import Bench, Candidate, valid_for_s


async def test_a_free_election_is_won(bench: Bench) -> None:
    one = await bench.steady()
    queued = await one.stand()
    elected = await one.expect(Elected, election="e", epoch=1)
    assert elected.token > 0
    assert elected.mark == 0
    assert queued.token == (elected.token if bench.profile.token_when_queued else None)
    one.news.insert(0, elected)
    claimed = await one.win()
    assert claimed.token == elected.token


async def test_a_held_election_is_not_won_by_another(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    await two.never(Elected, for_s=1.0)


async def test_two_elections_are_independent(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    await one.lead("first")
    await two.lead("second")


async def test_a_candidate_leads_twice_in_a_row(bench: Bench) -> None:
    one = await bench.steady()
    first = await one.lead()
    await one.withdraw("e", first.token)
    second = await one.lead()
    assert second.token > first.token


async def test_standing_right_after_a_release_ten_times(bench: Bench) -> None:
    one = await bench.candidate()
    one.keep_renewing()
    tokens = []
    for _ in range(10):
        claimed = await one.lead()
        tokens.append(claimed.token)
        assert (await one.withdraw("e", claimed.token)).problem is None
    assert tokens == sorted(set(tokens))


async def test_a_release_hands_over_at_once(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    claimed = await one.lead()
    await two.stand()
    await bench.until_operator(lambda: _listed(bench, 2 if bench.profile.fifo else 1), 2.0, "the queue")
    released_s = bench.now_s()
    await one.withdraw("e", claimed.token)
    await two.win(within_s=1.5)
    assert bench.now_s() - released_s < 1.5


async def _listed(bench: Bench, count: int) -> bool:
    return len(await bench.operator.instances("e")) >= count


async def test_a_crashed_leader_is_replaced_within_the_bound(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    await one.abandon()
    await two.win(within_s=bench.profile.takeover_s)


async def test_a_crashed_leader_is_not_replaced_before_its_validity_ends(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    await one.lead()
    two.keep_renewing()
    await two.stand()
    renewed = await one.renew(*one.entries())
    await one.abandon()
    await two.win(within_s=bench.profile.takeover_s)
    claimed_s = next(at for at, event in two.history if isinstance(event, Elected))
    assert claimed_s > renewed.sent_at_s + valid_for_s(one)


async def test_renewals_keep_a_term_beyond_two_ttls(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    claimed = await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    await bench.pause(2.3 * bench.profile.ttl_s)
    assert two.find(Elected) is None
    assert one.find(SessionGone) is None
    one.stop_renewing()
    one.forget()
    renewed = await one.renew(*one.entries())
    assert renewed.owned == frozenset({"e"})
    assert claimed.token == one.entries()[0].token


async def test_a_session_that_is_not_renewed_dies(bench: Bench) -> None:
    one, hush, speak = await bench.mortal()
    await one.lead()
    hush()
    two = await bench.candidate()
    two.keep_renewing()
    await two.lead(within_s=bench.profile.takeover_s)
    speak()
    one.submit(Renew(one.epoch, one.entries()))
    await one.expect(SessionGone, epoch=one.epoch, within_s=6.0)
    assert one.find(Renewed) is None


async def test_closing_the_session_frees_at_once(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    await one.lead()
    await two.stand()
    if bench.kind == "consul":
        # An invalidated session starts the lock-delay; a core withdraws first, and so may everybody who is in a hurry.
        await one.withdraw()
    await one.close()
    await two.win(within_s=2.0)


async def test_a_crashed_waiter_does_not_block_the_queue(bench: Bench) -> None:
    one, two, three = await bench.candidate(), await bench.candidate(), await bench.candidate()
    first = await one.lead()
    for waiter in (two, three):
        await waiter.stand()
    one.keep_renewing()
    three.keep_renewing()
    await two.abandon()
    await bench.pause(0.2)
    await one.withdraw("e", first.token)
    await three.win(within_s=bench.profile.takeover_s)


async def test_a_withdrawn_waiter_does_not_block_the_queue(bench: Bench) -> None:
    one, two, three = await bench.steady(), await bench.steady(), await bench.steady()
    first = await one.lead()
    queued = await two.stand()
    await three.stand()
    await two.withdraw("e", queued.token)
    await one.withdraw("e", first.token)
    await three.win()
    assert two.find(Elected) is None


async def test_everyone_leads_in_turn(bench: Bench) -> None:
    """Curator's testRotatingLeadership."""
    several = [await bench.candidate() for _ in range(4)]
    for one in several:
        one.keep_renewing()
        await one.stand()
    led = set()
    for _ in several:
        winner: Candidate = await bench.until(lambda: next((c for c in several if c.find(Elected)), None), 6.0, "a leader")
        claimed = await winner.win()
        assert winner.name not in led
        led.add(winner.name)
        await winner.withdraw("e", claimed.token)
    assert len(led) == 4


async def test_fuzz_several_candidates_over_an_unprotected_counter(bench: Bench) -> None:
    """ShedLock's fuzzTestShouldPass: increments that would be lost if two were in at once."""
    rounds = 6
    counter, inside = 0, 0

    async def work(one: Candidate) -> None:
        nonlocal counter, inside
        for _ in range(rounds):
            claimed = await one.lead(within_s=20.0)
            inside += 1
            assert inside == 1, "two candidates are in at once"
            read = counter
            await bench.pause(0.005)
            counter = read + 1
            inside -= 1
            await one.withdraw("e", claimed.token)

    several = [await bench.candidate(ttl_s=max(5.0, bench.profile.ttl_s)) for _ in range(4)]
    for one in several:
        one.keep_renewing()
    async with asyncio.timeout(40):
        await asyncio.gather(*(work(one) for one in several))
    assert counter == rounds * len(several)
    tokens = sorted(event.token for one in several for _, event in one.history if isinstance(event, Claimed))
    assert len(set(tokens)) == len(tokens)


async def test_fifty_elections_in_one_session(bench: Bench) -> None:
    names = [f"job-{n}" for n in range(50)]
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    one.keep_renewing()
    two.keep_renewing()
    for name in names:
        one.submit(Stand(one.epoch, name))
    for name in names:
        await one.win(name, within_s=10.0)
    for name in names:
        two.submit(Stand(two.epoch, name))
    await bench.pause(1.0)
    assert two.find(Elected) is None
    one.stop_renewing()
    one.forget()
    renewed = await one.renew(*one.entries())
    assert renewed.owned == frozenset(names)


async def test_two_candidates_lead_one_election_each_and_wait_for_the_other(bench: Bench) -> None:
    one, two = await bench.steady(), await bench.steady()
    first, second = await one.lead("x"), await two.lead("y")
    await one.stand("y")
    await two.stand("x")
    await one.withdraw("x", first.token)
    await two.win("x")
    await two.withdraw("y", second.token)
    await one.win("y")
