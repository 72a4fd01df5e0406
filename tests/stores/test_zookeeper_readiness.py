"""What the next in line has proven before its turn, against real servers: a hand-over takes one proposal; or when it takes more."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Claim, Withdraw
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    QueueSeen,
    Withdrawn,
)
from leaderd.stores.marks import mark_text, ready_text
from leaderd.stores.zookeeper import contest as contests
from leaderd.stores.zookeeper import mark
from tests.contract.harness import Candidate
from tests.stores.zookeeper_support import Place, leave, requests_after

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("zookeeper-driver")]


@pytest.fixture
def place(zookeeper_place: Place) -> Place:
    return zookeeper_place


async def _two(place: Place) -> tuple[Candidate, Elected, Candidate]:
    """One leads, the next is ready: the mark is its token."""
    one, two = await place.candidate(), await place.candidate()
    first = await one.lead()
    await two.stand()
    token = two.entries()[0].token
    assert token is not None
    await two.renew(*two.entries())

    async def raised() -> bool:
        return await place.marked() == ready_text(token)

    await place.until_operator(raised, 3.0, "the next one is ready")
    await place.pause(0.1)
    await two.renew(*two.entries())
    return one, first, two


@pytest.mark.parametrize("renewed", [True, False])
async def test_the_next_in_line_sends_nothing_before_it_leads(place: Place, renewed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if its session is so young that it was never renewed."""
    for module in (mark, contests):
        monkeypatch.setattr(module, "SETTLE_S", 60.0)  # of the confirmation and the look, which come later
    one, first, two = await _two(place)
    if not renewed:
        two.store._session.confirmed_s = 0.0
    while (now := await requests_after(place, [two], 0.2)) != (before := [two.store.traffic.requests]):
        assert now >= before
    one.submit(Withdraw(1, "e", first.token))
    elected = await two.expect(Elected)
    sent = two.store.traffic.requests
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(Claimed)
    assert two.store.traffic.requests == sent


async def test_first_by_a_look_it_is_not_ready(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look proves nothing about what has become of our node since: the claim is sent."""
    one, first, two = await _two(place)
    monkeypatch.setattr(two.store._session._contests["e"], "_before_changed", lambda name, event: None)
    one.submit(Withdraw(1, "e", first.token))
    await one.expect(Withdrawn)
    await two.renew(*two.entries())
    elected = await two.expect(Elected)
    sent = two.store.traffic.requests
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(Claimed)
    assert two.store.traffic.requests - sent >= 1


async def test_old_news_is_claimed(place: Place) -> None:
    """The last renewal, and getting ready, are longer ago than half the ttl: the claim is sent."""
    one, first, two = await _two(place)
    session = two.store._session
    session.confirmed_s -= session._ttl_s() / 2 + 0.1
    session._contests["e"]._ready.sent_at_s -= session._ttl_s() / 2 + 0.1
    one.submit(Withdraw(1, "e", first.token))
    elected = await two.expect(Elected)
    sent = two.store.traffic.requests
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(Claimed)
    assert two.store.traffic.requests - sent >= 1


async def test_a_confirmation_that_is_late_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a mark that was written since, nor one that was deleted and made anew, and has come to the same version."""
    monkeypatch.setattr(mark, "SETTLE_S", 60.0)
    one, first, two = await _two(place)
    one.submit(Withdraw(1, "e", first.token))
    elected = await two.expect(Elected)
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(Claimed)
    contest = two.store._session._contests["e"]
    known, node = contest._mark, contest.node
    assert (known.value, known.claimed, known.fresh) == (elected.token, False, True)
    monkeypatch.setattr(mark, "SETTLE_S", 0.0)
    higher = mark_text(elected.token + 1000)
    await place.zk("set", known.path, higher)
    known.fresh = True  # as if the watch had not told yet
    await known.confirm(node, elected.token)
    assert await place.marked() == higher
    await two.withdraw("e", elected.token)
    known.version, known.fresh = (await place.zk("get", known.path))[1].version, True
    await known.confirm(node, elected.token)
    assert await place.marked() == higher


async def test_a_raised_mark_is_a_claimed_one(place: Place) -> None:
    """Somebody has led with the very token of the next in line, in a store that was restored since, and says so: it never leads."""
    one, first, two = await _two(place)
    token = two.entries()[0].token
    assert token is not None
    one.raise_mark("e", token)

    async def claimed() -> bool:
        return await place.marked() == mark_text(token)

    await place.until_operator(claimed, 3.0, "the mark says that the token was claimed")
    contest = two.store._session._contests["e"]
    await contest.look()
    assert (contest._mark.fresh, contest._mark.value, contest._mark.claimed) == (True, token, True)
    assert not contest._ready.holds(token), "it may not lead without asking"
    one.submit(Withdraw(1, "e", first.token))
    elected = await two.expect(Elected)
    if elected.mark < token:  # its watch had not told it yet
        two.submit(Claim(two.epoch, "e", token, elected.mark))
        elected = await two.expect(Elected)
    assert (elected.token, elected.mark) == (token, token)


async def test_nobody_gets_ready_before_a_leader_that_was_ready_has_confirmed(place: Place) -> None:
    """It is first, and has yet to claim: the mark has to stay at its token, for it may have to ask. Then it confirms."""
    one, first, two = await _two(place)
    three = await place.candidate()
    last = (await three.stand()).token
    assert last is not None
    one.submit(Withdraw(1, "e", first.token))
    elected = await two.expect(Elected)
    await three.renew(*three.entries())  # and look who is there
    contest = three.store._session._contests["e"]
    await place.until(lambda: contest._ready.waits, 3.0, "it knows that it is next, and has to wait")
    assert await place.marked() == ready_text(elected.token)
    two.submit(Claim(two.epoch, "e", elected.token, elected.mark))
    await two.expect(Claimed)

    async def ready() -> bool:
        return await place.marked() == ready_text(last)

    await place.until_operator(ready, 3.0, "the third one is ready, without another renewal")


async def test_a_node_deleted_before_the_leaders_never_leads(place: Place) -> None:
    """Ready, deleted by an operator, and then the leader leaves: the news come in that order."""
    one, first, two = await _two(place)
    await place.operator.delete_entry("e", two.identity.instance)
    one.submit(Withdraw(1, "e", first.token))
    await two.expect(EntryGone)
    assert two.find(Elected) is None


async def test_nobody_but_the_next_in_line_is_woken(place: Place) -> None:
    several = [await place.candidate() for _ in range(6)]
    first = await several[0].lead()
    for one in several[1:]:
        await one.stand()
    await place.until_operator(lambda: _watchers_are(place, several), 3.0, "one watcher per node")
    for one in several:
        await one.renew(*one.entries())  # and look who is there
        await one.expect(QueueSeen)
    before = [one.store.traffic.requests for one in several]
    while (now := await requests_after(place, several, 0.2)) != before:
        before = now
    several[0].submit(Withdraw(1, "e", first.token))
    await several[1].win()
    await place.pause(0.3)
    asked = [one.store.traffic.requests - then for one, then in zip(several, before, strict=True)]
    assert asked[3:] == [0, 0, 0], asked
    assert asked[1] == 2, "a look afterwards, and the confirmation: the claim was proven before"


async def _watchers_are(place: Place, several: list[Candidate]) -> bool:
    """Each node is watched by its owner and by the one behind it, the mark by the next in line."""
    watchers = await place.watchers()
    nodes = {path: count for path, count in watchers.items() if path.startswith(place.directory + "/")}
    marks = sum(count for path, count in watchers.items() if path.endswith("/mark"))
    return sorted(nodes.values()) == [1] + [2] * (len(several) - 1) and marks == 1


async def test_a_hand_over_takes_one_claim(place: Place) -> None:
    """The next in line knows the mark: it is elected once, and its first claim is accepted."""
    several = [await place.candidate() for _ in range(3)]
    claimed = await several[0].lead()
    for one in several[1:]:
        await one.stand()
        await one.expect(QueueSeen)
    for leader, successor in ((0, 1), (1, 2)):
        await leave(several[leader], claimed.token)
        elected = await several[successor].expect(Elected)
        assert elected.mark == claimed.token
        several[successor].submit(Claim(1, "e", elected.token, elected.mark))
        claimed = await several[successor].expect(Claimed)
        assert several[successor].find(Elected) is None
