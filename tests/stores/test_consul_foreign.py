"""What others may leave in an election's place in Consul: named, never overwritten, and let go."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Stand
from leaderd.election.events import (
    EntryGone,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.consul.wire import LOCK_FLAGS
from tests.stores.consul_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]


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
    await place.until_operator(place.free, 4.0, "a free lock")


async def test_a_mark_that_is_no_number_is_named_and_the_lock_let_go(place: Place) -> None:
    mark = f"{place.path}/.leaderd/e/mark"
    await place.api("PUT", f"/v1/kv/{mark}", b"garbage")
    one = await place.candidate()
    one.submit(Stand(one.epoch, "e"))
    problem = (await one.expect(StandFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.FOREIGN_ENTRY)
    assert mark in problem.detail
    assert await place.free()
    await place.api("DELETE", f"/v1/kv/{mark}")
    await one.lead()
