"""The operator's hand: sessions revoked, entries deleted and overwritten, foreign things in the election's place."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Stand
from leaderd.election.events import Elected, EntryGone, SessionFailed, SessionGone, StandFailed
from leaderd.election.problems import Reason
from tests.contract.harness import Bench

NOTICED_S = 1.0
"""Consul's own bar (api/lock_test.go), and that of our contract."""


async def test_a_revoked_leader_notices_within_a_second(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    await one.lead()
    await bench.pause(0.3)
    await bench.operator.revoke_session("e", one.name)
    gone = await one.expect(SessionGone, within_s=NOTICED_S)
    assert gone.problem.reason is Reason.SESSION_GONE


async def test_a_revoked_leader_is_replaced(bench: Bench) -> None:
    one, two = await bench.candidate(), await bench.candidate()
    one.keep_renewing()
    two.keep_renewing()
    first = await one.lead()
    await two.stand()
    await bench.operator.revoke_session("e", one.name)
    second = await two.win(within_s=bench.profile.takeover_s)
    assert second.token > first.token


async def test_a_revoked_waiter_notices(bench: Bench) -> None:
    if bench.kind == "consul":
        pytest.skip("a waiter has no entry in Consul by which the operator could find its session")
    one, two = await bench.candidate(ttl_s=6.0), await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    two.keep_renewing()
    await one.lead()
    await two.stand()
    await bench.operator.revoke_session("e", two.name)
    await two.expect(SessionGone, within_s=2.0)


async def test_a_revoked_candidate_stands_again(bench: Bench) -> None:
    one = await bench.candidate()
    one.keep_renewing()
    first = await one.lead()
    await bench.operator.revoke_session("e", one.name)
    await one.expect(SessionGone)
    await one.close()
    await one.open()
    one.keep_renewing()
    second = await one.lead(within_s=bench.profile.takeover_s)
    assert second.token > first.token


async def test_a_leader_whose_entry_is_deleted_notices_within_a_second(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    await one.lead()
    await bench.pause(0.3)
    await bench.operator.delete_entry("e", one.name)
    gone = await one.expect(EntryGone, within_s=NOTICED_S, election="e")
    assert gone.problem.reason is Reason.ENTRY_GONE


async def test_the_loss_of_one_entry_is_not_that_of_another(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    await one.lead("x")
    await one.lead("y")
    await bench.operator.delete_entry("x", one.name)
    await one.expect(EntryGone, within_s=NOTICED_S, election="x")
    one.stop_renewing()
    await bench.pause(0.3)
    assert one.find(EntryGone, election="y") is None
    one.forget()
    assert "y" in (await one.renew(*one.entries())).owned


async def test_a_waiter_whose_entry_is_deleted_notices(bench: Bench) -> None:
    bench.needs_fifo()
    one, two = await bench.candidate(ttl_s=5.0), await bench.candidate(ttl_s=5.0)
    one.keep_renewing()
    two.keep_renewing()
    await one.lead()
    await two.stand()
    await bench.operator.delete_entry("e", two.name)

    def noticed() -> bool:
        return any(isinstance(event, EntryGone) or "e" in getattr(event, "lost", ()) for _, event in two.history)

    await bench.until(noticed, 2.5, "the loss")
    assert two.find(Elected) is None


async def test_an_overwritten_entry_is_lost(bench: Bench) -> None:
    if bench.kind == "zookeeper":
        pytest.skip("a node's owner cannot be changed in ZooKeeper; its data say nothing")
    one = await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    await one.lead()
    await bench.pause(0.3)
    await bench.operator.overwrite_entry("e", one.name)
    await one.expect(EntryGone, within_s=NOTICED_S, election="e")


async def test_the_deletion_of_the_whole_election_is_noticed(bench: Bench) -> None:
    one = await bench.candidate(ttl_s=6.0)
    one.keep_renewing()
    first = await one.lead()
    await bench.operator.delete_election("e")
    await one.expect(EntryGone, within_s=NOTICED_S, election="e")
    second = await one.lead()
    assert second.token > first.token


@pytest.mark.real("the simulated stores hold nothing but entries")
async def test_a_foreign_thing_in_the_elections_place(bench: Bench) -> None:
    await bench.operator.plant_foreign("e")
    one = await bench.candidate(open_session=False)
    if bench.kind == "local":
        one.epoch = 1
        from leaderd.election.commands import OpenSession

        one.submit(OpenSession(1, one.ttl_s))
        failed = await one.expect(SessionFailed)
        assert failed.problem.reason is Reason.FOREIGN_ENTRY
    else:
        await one.open()
        one.keep_renewing()
        one.submit(Stand(one.epoch, "e"))
        refused = await one.expect(StandFailed, election="e")
        assert refused.problem.reason is Reason.FOREIGN_ENTRY
        assert "\n" not in refused.problem.detail
    await bench.operator.remove_foreign("e")
    if bench.kind == "local":
        await one.open()
    await one.withdraw()
    await one.lead()


@pytest.mark.real("the simulated stores hold nothing but entries")
async def test_a_foreign_thing_leaves_other_elections_alone(bench: Bench) -> None:
    if bench.kind == "local":
        pytest.skip("all elections of the local store are in one file")
    await bench.operator.plant_foreign("e")
    one = await bench.candidate()
    one.submit(Stand(one.epoch, "e"))
    await one.expect(StandFailed, election="e")
    await one.lead("other")
    assert one.find(Elected, election="e") is None
