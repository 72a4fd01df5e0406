"""The store away, silent, slow or not itself: bounded answers, no false claims, and recovery without help."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd.election.commands import Claim, CloseSession, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials
from tests.contract.harness import Bench, Candidate
from tests.listener import listening
from tests.stores.strangers import stranger

ANSWERED_S = 12.0
"""A driver's own bound on any call is about ttl/6 per attempt; opening may try several endpoints and a handshake."""


async def refused_session(one: Candidate) -> SessionFailed:
    """Open a session that must fail."""
    one.epoch += 1
    one.submit(OpenSession(one.epoch, one.ttl_s))
    failed = await one.expect(SessionFailed, within_s=ANSWERED_S, epoch=one.epoch)
    assert "\n" not in failed.problem.detail
    assert "Traceback" not in failed.problem.detail
    assert one.find(SessionOpened, epoch=one.epoch) is None
    return failed


async def proxy(bench: Bench) -> Any:
    """A wire that can do all that a proxy can; in the simulation, all that a lossy link can."""
    bench.needs_network()
    return await bench.wire()


# ---- away from the start


async def test_a_store_that_refuses_at_the_start(bench: Bench) -> None:
    wire = await proxy(bench)
    wire.refuse()
    one = await bench.candidate(wire=wire, open_session=False)
    failed = await refused_session(one)
    assert failed.problem.reason in (Reason.STORE_UNREACHABLE, Reason.WRONG_PROTOCOL)
    wire.heal()
    await one.open_at_last(20.0)
    await one.lead()


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_store_that_nobody_listens_for(bench: Bench) -> None:
    wire = await proxy(bench)
    await wire.aclose()
    one = await bench.candidate(wire=wire, open_session=False)
    failed = await refused_session(one)
    assert failed.problem.reason is Reason.STORE_UNREACHABLE


async def test_a_store_that_is_silent_at_the_start(bench: Bench) -> None:
    wire = await proxy(bench)
    wire.silence()
    one = await bench.candidate(wire=wire, open_session=False)
    failed = await refused_session(one)
    assert failed.problem.reason is Reason.STORE_UNREACHABLE
    wire.heal()
    await one.open_at_last(20.0)
    await one.lead()


@pytest.mark.real("the simulation has no connections, names or files")
@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 64,
        b"{}\n",
        b"\xff" * 4096,
    ],
    ids=["http", "ssh", "zeros", "json", "noise"],
)
async def test_something_else_answers(bench: Bench, greeting: bytes) -> None:
    bench.needs_network()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(10)
            writer.write(greeting)
            await writer.drain()
            await reader.read(100_000)
        writer.transport.abort()

    async with listening(answer) as port:
        one = await bench.candidate(address=replace(bench.address, hosts=(("127.0.0.1", port),)), open_session=False)
        failed = await refused_session(one)
        assert failed.problem.reason in (Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE, Reason.STORE_ERROR)
        assert f"127.0.0.1:{port}" in failed.problem.detail
        await one.end()


@pytest.mark.real("the simulation has no connections, names or files")
async def test_another_kind_of_store_is_named(bench: Bench) -> None:
    """ZooKeeper hangs up on what it does not understand; etcd and Consul wait for the end of a line."""
    bench.needs_network()
    async with stranger("HTTP" if bench.kind == "zookeeper" else "ZooKeeper") as host:
        one = await bench.candidate(address=replace(bench.address, hosts=(host,)), open_session=False)
        failed = await refused_session(one)
        assert failed.problem.reason is Reason.WRONG_PROTOCOL
        assert f"{host[0]}:{host[1]}" in failed.problem.detail
        assert bench.kind in failed.problem.detail
        await one.end()


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_name_that_does_not_resolve(bench: Bench) -> None:
    bench.needs_network()
    one = await bench.candidate(address=replace(bench.address, hosts=(("no-such-host.invalid", 1234),)), open_session=False)
    failed = await refused_session(one)
    assert failed.problem.reason is Reason.STORE_UNREACHABLE


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_secret_file_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    bench.needs_network()
    missing = tmp_path / "no" / "secret"
    one = await bench.candidate(credentials=Credentials("user", missing, missing), open_session=False)
    failed = await refused_session(one)
    assert failed.problem.reason in (Reason.AUTH_FAILED, Reason.PERMISSION_DENIED)
    assert str(missing) in failed.problem.detail


# ---- away in the middle


async def test_a_silent_store_confirms_no_renewal(bench: Bench) -> None:
    wire = await bench.wire()
    one = await bench.candidate(wire=wire, ttl_s=max(4.0, bench.profile.ttl_s))
    await one.lead()
    wire.silence()
    silent_s = bench.now_s()
    one.forget()
    one.submit(Renew(one.epoch, one.entries()))
    await bench.pause(1.5)
    assert one.find(Renewed) is None
    wire.heal()
    # The outage was shorter than the ttl: the same session goes on.
    if bench.kind != "zookeeper":
        await bench.until(lambda: one.find(RenewFailed) or one.find(Renewed), ANSWERED_S, "an answer")
    one.keep_renewing()
    renewed = await one.expect(Renewed, within_s=ANSWERED_S, epoch=one.epoch)
    assert renewed.owned == frozenset({"e"})
    assert renewed.sent_at_s >= silent_s


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_store_that_resets_connections_in_the_middle(bench: Bench) -> None:
    wire = await proxy(bench)
    one = await bench.candidate(wire=wire, ttl_s=6.0)
    await one.lead()
    one.keep_renewing()
    for _ in range(3):
        wire.reset()
        await bench.pause(0.3)
    reset_s = bench.now_s()
    one.forget()
    await bench.until(lambda: (event := one.find(Renewed)) and event.sent_at_s > reset_s, ANSWERED_S, "a renewal after the resets")
    assert one.find(SessionGone) is None
    assert (await one.renew_once()).owned == frozenset({"e"})


async def test_a_long_outage_ends_the_session_and_a_new_one_works(bench: Bench) -> None:
    wire = await proxy(bench)
    one, two = await bench.candidate(wire=wire), await bench.candidate()
    first = await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    wire.silence()
    second = await two.win(within_s=bench.profile.takeover_s)
    assert second.token > first.token
    # What the core does at its deadline: away with the session, then a new one.
    await one.close()
    wire.heal()
    await one.open_at_last(20.0)
    one.keep_renewing()
    await one.stand()
    await two.withdraw("e", second.token)
    third = await one.win(within_s=bench.profile.takeover_s)
    assert third.token > second.token


async def test_swallowed_replies_do_not_keep_a_zombie_in_office(bench: Bench) -> None:
    """Requests arrive, answers do not. Once the core has given the session up, nothing may go on renewing it."""
    wire = await proxy(bench)
    one, two = await bench.candidate(wire=wire), await bench.candidate()
    await one.lead()
    one.keep_renewing()
    two.keep_renewing()
    await two.stand()
    wire.swallow()
    await bench.pause(bench.profile.ttl_s * 0.5)
    await one.close()
    await two.win(within_s=bench.profile.takeover_s)


async def test_closing_while_silent_delays_nothing(bench: Bench) -> None:
    wire = await proxy(bench)
    one = await bench.candidate(wire=wire)
    await one.lead()
    wire.silence()
    one.submit(Renew(one.epoch, one.entries()))
    await bench.pause(0.3)
    one.submit(CloseSession(one.epoch))
    await refused_session(one)
    wire.heal()
    await one.open_at_last(20.0)


@pytest.mark.real("late answers are part of every simulated run")
async def test_a_late_renewal_is_dated_from_its_send(bench: Bench) -> None:
    wire = await proxy(bench)
    one = await bench.candidate(wire=wire, ttl_s=6.0)
    await one.lead()
    wire.hold()
    before_s = bench.now_s()
    one.forget()
    one.submit(Renew(one.epoch, one.entries()))
    await bench.pause(0.6)
    assert one.find(Renewed) is None
    wire.release()
    await bench.until(lambda: one.find(Renewed) or one.find(RenewFailed), ANSWERED_S, "an answer")
    renewed = one.find(Renewed)
    if renewed is not None:
        assert before_s <= renewed.sent_at_s < before_s + 0.3


@pytest.mark.real("late answers are part of every simulated run")
async def test_a_claim_whose_answer_comes_after_the_session_died(bench: Bench) -> None:
    """etcd #11456, faults row 24: the proof of the claim is as old as its request."""
    if bench.profile.pings:
        pytest.skip("a silent connection is given up before its session dies, and its late answers with it")
    wire = await proxy(bench)
    one, two = await bench.candidate(wire=wire), await bench.candidate()
    await one.stand()
    elected = await one.expect(Elected)
    wire.hold()
    submitted_s = bench.now_s()
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    two.keep_renewing()
    await two.lead(within_s=bench.profile.takeover_s)
    wire.release()
    await bench.pause(1.0)
    for _, event in one.history:
        if isinstance(event, Claimed):
            assert event.sent_at_s < submitted_s + 0.5, "dated by the reply: a dead session would look alive"


# ---- answers lost


@pytest.mark.parametrize("how", ["silent", "dead"])
async def test_a_stand_whose_answer_was_lost_leaves_one_entry(bench: Bench, how: str) -> None:
    """Curator's createProtectedNodeInBackground: the node was made, the connection died before it was told."""
    wire = await proxy(bench)
    one = await bench.candidate(wire=wire, ttl_s=6.0)
    await one.lead()  # so that the place exists, and the next request is the one that matters
    await one.withdraw()
    one.forget()
    # Some drivers look before they take: only the answer to the taking is lost.
    wire.swallow_from({"consul": b"/v1/txn", "zookeeper": b"-lock-"}.get(bench.kind, b""))
    one.submit(Stand(one.epoch, "e"))
    await bench.until_operator(lambda: _listed(bench, 1), 3.0, "the entry")
    if how == "dead":
        wire.reset()
    else:
        await bench.pause(0.5)
    wire.heal()
    one.keep_renewing()
    for _ in range(20):
        await bench.until(lambda: one.find(Elected) or one.find(StandFailed), ANSWERED_S, "an answer")
        if one.find(Elected):
            break
        failed = await one.expect(StandFailed)
        assert failed.problem.outcome is Outcome.UNKNOWN, "an entry may be left: this cannot be FAILED"
        for _ in range(20):
            one.submit(Withdraw(one.epoch, "e", None))
            if (await one.expect(Withdrawn, within_s=ANSWERED_S)).problem is None:
                break
            await bench.pause(0.3)
        one.submit(Stand(one.epoch, "e"))
    await one.win()
    await bench.until_operator(lambda: _exactly(bench, [one.name]), 3.0, "exactly one entry")


async def _listed(bench: Bench, count: int) -> bool:
    return len(await bench.operator.instances("e")) >= count


async def _exactly(bench: Bench, names: list[str]) -> bool:
    return await bench.operator.instances("e") == names


async def test_a_withdrawal_whose_answer_was_lost_is_uncertain(bench: Bench) -> None:
    wire = await proxy(bench)
    one, two = await bench.candidate(wire=wire, ttl_s=6.0), await bench.candidate()
    two.keep_renewing()
    first = await one.lead()
    await two.stand()
    wire.swallow()
    one.submit(Withdraw(one.epoch, "e", first.token))
    await two.win(within_s=5.0)
    withdrawn = await one.expect(Withdrawn, within_s=ANSWERED_S)
    if withdrawn.problem is not None:
        assert withdrawn.problem.outcome is Outcome.UNKNOWN
    wire.heal()
    for _ in range(20):
        again = await one.withdraw_within("e", first.token, ANSWERED_S)
        if again.problem is None:
            break
        await bench.pause(0.3)
    else:
        raise AssertionError("the withdrawal never became certain")


async def test_every_command_is_answered_while_the_store_is_silent(bench: Bench) -> None:
    wire = await bench.wire()
    one = await bench.candidate(wire=wire, ttl_s=max(3.0, bench.profile.ttl_s))
    await one.lead("claimed")
    await one.stand("first")
    elected = await one.expect(Elected, election="first")
    wire.silence()
    one.submit(Stand(one.epoch, "new"))
    one.submit(Claim(one.epoch, "first", elected.token, elected.mark))
    one.submit(Withdraw(one.epoch, "claimed", None))
    if bench.kind != "zookeeper":
        one.submit(Renew(one.epoch, one.entries()))
        await bench.until(lambda: one.find(RenewFailed) or one.find(SessionGone), ANSWERED_S, "the renewal's answer")
    if one.find(SessionGone):
        return
    failed = await one.expect(StandFailed, within_s=ANSWERED_S, election="new")
    assert failed.problem.reason is Reason.STORE_UNREACHABLE
    await one.expect(StandFailed, within_s=ANSWERED_S, election="first")
    assert (await one.expect(Withdrawn, within_s=ANSWERED_S, election="claimed")).problem is not None
    assert one.find(Claimed, election="first") is None


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_connection_that_dies_under_a_claim(bench: Bench) -> None:
    wire = await proxy(bench)
    one = await bench.candidate(wire=wire, ttl_s=6.0)
    one.keep_renewing()
    await one.stand()
    elected = await one.expect(Elected)
    wire.close_after(b"")
    one.submit(Claim(one.epoch, "e", elected.token, elected.mark))
    await bench.until(
        lambda: any(one.find(kind, election="e") for kind in (Claimed, StandFailed, EntryGone, Elected)), ANSWERED_S, "an answer"
    )
    wire.heal()
    failed = one.find(StandFailed)
    if failed is not None and failed.problem.outcome is Outcome.FAILED:
        await bench.until_operator(lambda: _exactly(bench, []), 3.0, "no entry, since FAILED says so")


# ---- several endpoints


@pytest.mark.real("the simulation has no connections, names or files")
async def test_a_dead_endpoint_among_several(bench: Bench) -> None:
    wire = await proxy(bench)
    await wire.aclose()
    hosts = (("127.0.0.1", wire.port), *bench.address.hosts)
    one = await bench.candidate(address=replace(bench.address, hosts=hosts), open_session=False)
    await one.open_at_last(15.0)
    await one.lead()


@pytest.mark.real("the simulation has no connections, names or files")
async def test_the_connected_endpoint_fails_and_another_takes_over(bench: Bench) -> None:
    first, second = await proxy(bench), await proxy(bench)
    hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
    one = await bench.candidate(address=replace(bench.address, hosts=hosts), ttl_s=6.0)
    await one.lead()
    one.keep_renewing()
    (first if first.connections >= second.connections else second).refuse()
    failed_s = bench.now_s()
    await bench.until(
        lambda: (event := _last_renewal(one)) and event.sent_at_s > failed_s + 0.2, 6.0, "a renewal by the other endpoint"
    )
    assert one.find(SessionGone) is None


def _last_renewal(one: Candidate) -> Renewed | None:
    return next((event for _, event in reversed(one.history) if isinstance(event, Renewed)), None)
