"""Order, names and what is shown: the queue, duplicates, odd names, elections whose names resemble each other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from leaderd.election.events import Claimed, Contender, Elected, QueueSeen
from tests.contract.harness import Bench, Candidate


def latest(one: Candidate, election: str = "e") -> QueueSeen | None:
    """The last that this candidate was shown of the election."""
    shown = [event for _, event in one.history if isinstance(event, QueueSeen) and event.election == election]
    return shown[-1] if shown else None


def names(seen: QueueSeen | None) -> list[str]:
    return [contender.instance for contender in seen.contenders] if seen else []


async def test_first_in_first_out(bench: Bench) -> None:
    bench.needs_fifo()
    several = [await bench.candidate() for _ in range(4)]
    for one in several:
        one.keep_renewing()
    claimed = await several[0].lead()
    for one in several[1:]:
        await one.stand()
    for leader, heir in pairwise(several):
        await leader.withdraw("e", claimed.token)
        claimed = await heir.win()


@pytest.mark.real("the models watch whatever costs nothing")
async def test_a_departure_is_heard_by_the_next_in_line_and_no_herd(bench: Bench) -> None:
    bench.needs_fifo()
    bench.needs_network()  # elsewhere nobody counts what a look costs
    leader, heir, _next, *herd = several = [await bench.steady() for _ in range(8)]
    claimed = await leader.lead()
    for one in several[1:]:
        await one.stand()
    await bench.pause(0.5)
    before = [one.store.traffic.requests for one in herd]
    await leader.withdraw("e", claimed.token)
    await heir.win()
    await bench.pause(0.5)
    assert [one.store.traffic.requests for one in herd] == before


async def test_nobody_behind_the_next_in_line_spoils_its_claim(bench: Bench) -> None:
    """It was ready, but has not been heard for longer than half its ttl, so it asks the store, and takes its time. Whoever comes
    after it must not have raised the mark by then."""
    bench.needs_fifo()
    one, two, three = await bench.candidate(), await bench.candidate(ttl_s=8.0), await bench.candidate()
    first = await one.lead()
    one.keep_renewing()
    three.keep_renewing()
    await two.stand()
    await three.stand()
    await bench.pause(4.2)
    await one.withdraw("e", first.token)
    elected = await two.expect(Elected)
    await bench.pause(0.4 * bench.profile.ttl_s)  # time enough for a renewal, which tells the third that it is next
    two.news.insert(0, elected)
    second = await two.win()
    await two.withdraw("e", second.token)
    third = await three.win()
    assert first.token < second.token < third.token


async def test_standing_again_means_the_end_of_the_queue(bench: Bench) -> None:
    bench.needs_fifo()
    one, two, three = [await bench.steady() for _ in range(3)]
    first = await one.lead()
    await two.stand()
    await three.stand()
    await one.withdraw("e", first.token)
    second = await two.win()
    await one.stand()
    await two.withdraw("e", second.token)
    await three.win()
    assert one.find(Elected) is None


async def test_the_queue_is_shown_in_order(bench: Bench) -> None:
    one, two, three = [await bench.candidate() for _ in range(3)]
    for candidate in (one, two, three):
        candidate.keep_renewing()
    await one.lead()
    await two.stand()
    await three.stand()
    everybody = [one.name, two.name, three.name] if bench.profile.fifo else [one.name]

    def shown() -> bool:
        seen = latest(three)
        return names(seen)[: len(everybody)] == everybody and seen is not None and seen.led

    await bench.until(shown, 8.0, "the whole queue")


@pytest.mark.real("the models show the queue to waiters only")
async def test_the_leader_is_shown_the_queue_too(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    one.keep_renewing()
    await one.lead()
    await two.stand()
    everybody = [one.name, two.name] if bench.profile.fifo else [one.name]
    await bench.until(lambda: names(latest(one))[: len(everybody)] == everybody, 8.0, "the queue")
    seen = latest(one)
    assert seen is not None
    assert seen.contenders[0].own


async def test_own_is_told_by_session_not_by_name(bench: Bench) -> None:
    one, two = await bench.candidate("twin"), await bench.candidate("twin")
    two.keep_renewing()
    one.keep_renewing()
    await one.lead()
    await two.stand()

    def sees_a_stranger() -> Contender | None:
        seen = latest(two)
        return next((c for c in seen.contenders if c.instance == "twin" and not c.own), None) if seen else None

    await bench.until(sees_a_stranger, 8.0, "the other twin")


async def test_twins_never_lead_both(bench: Bench) -> None:
    one, two = await bench.candidate("twin"), await bench.candidate("twin")
    claimed = await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    await two.never(Elected, for_s=1.0)
    await two.withdraw()
    renewed = await one.renew_once()
    assert renewed.owned == frozenset({"e"}), "the twin's withdrawal took our entry"
    await two.stand()
    await one.withdraw("e", claimed.token)
    await two.win()


@pytest.mark.parametrize(
    "name",
    ["pod 7", "größe-日本", "a/b//c", "x" * 200, "-lock-0000000000", "quote\"'\\", "..", "%2e"],
    ids=["space", "unicode", "slashes", "long", "lock", "quotes", "dots", "percent"],
)
async def test_odd_instance_names(bench: Bench, name: str) -> None:
    one, two = await bench.candidate(name), await bench.candidate()
    await one.lead()
    two.keep_renewing()
    await two.stand()
    await bench.until(lambda: name in names(latest(two)), 8.0, "the odd name")
    assert await bench.operator.instances("e") == ([name, two.name] if bench.profile.fifo else [name])


async def test_election_names_that_resemble_each_other(bench: Bench) -> None:
    similar = ["a", "aa", "a.a", "a-", "a.lock", "a-lock-0000000000", "A", "a_", "0"]
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    for n, name in enumerate(similar):
        await (one if n % 2 else two).lead(name)
    assert len({event.token for c in (one, two) for _, event in c.history if isinstance(event, Claimed)}) == len(similar)


async def test_the_longest_election_name(bench: Bench) -> None:
    one = await bench.steady()
    name = "n" * 63
    await one.lead(name)
    renewed = await one.renew(*one.entries())
    assert renewed.owned == frozenset({name})


async def test_a_departed_candidate_is_not_shown_any_more(bench: Bench) -> None:
    bench.needs_fifo()
    one, two, three = [await bench.candidate() for _ in range(3)]
    one.keep_renewing()
    three.keep_renewing()
    await one.lead()
    queued = await two.stand()
    await three.stand()
    await bench.until(lambda: two.name in names(latest(three)), 8.0, "the waiter")
    await two.withdraw("e", queued.token)
    await bench.until(lambda: names(latest(three)) == [one.name, three.name], 8.0, "the shorter queue")
