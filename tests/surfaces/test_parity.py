"""All surfaces at once, under churn: whoever is asked at one instant says the same, because all of them ask one board.

What is pushed (events, gRPC's stream, a blocking read) is compared when it has heard of the same index; the lease file within the
step itself, before anything else can run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from leaderd.cli import is_leader, status
from leaderd.client import Leader
from leaderd.client.lease import LeaseMap
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, State, Term
from leaderd.surfaces.files import StateFiles
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.surfaces.grpc_rig import SERVICE, GrpcRig
from tests.surfaces.rig import PATIENCE_S, Reply, Rig, following, leading, snapshot, surfaces
from tests.surfaces.test_events import Stream, subscribe

NAME = "daily-report"
STEPS = 30
Told = tuple[bool, str, int | None, str | None, int]
"""Leader, state, token, who leads, index."""


class World:
    """One board, and every surface over it."""

    def __init__(self, rig: Rig, calls: GrpcRig, files: StateFiles, directory: Path) -> None:
        self.rig = rig
        self.calls = calls
        self.files = files
        self.directory = directory

    async def asked(self) -> dict[str, Told]:
        """What each surface says that can be asked, all asked at once."""
        rig = self.rig
        listeners = ("app", "ops", "socket")
        replies: list[Reply] = await asyncio.gather(
            *(rig.ask(f"/is-leader?{query}", listener) for listener in listeners for query in ("", "promise=0", "index=0&wait=1s")),
            *(rig.ask(f"/v1/elections/{NAME}", listener) for listener in listeners),
        )
        found = {str(number): told(reply.json) for number, reply in enumerate(replies)}
        for reply in replies[:9]:
            assert (reply.status == 200) is reply.json["leader"]
        overview = await rig.ask("/v1/elections")
        found["overview"] = told(overview.json["elections"][0])
        message = (await self.calls.get()).election
        found["grpc"] = grpc_told(message)
        assert await self.calls.check(f"leader/{NAME}") == (1 if message.leader else 2)
        name = (await rig.ask("/")).json["name"]
        assert name == (message.leader_instance if message.HasField("leader_instance") else "")
        return found

    async def others(self) -> dict[str, tuple[bool, int | None]]:
        """Leader and token, by those that tell no more, or are asked by programs of ours: all at once, too."""
        run, socket = asyncio.to_thread, str(self.rig.surfaces.addresses["socket"])
        mapped, asking = LeaseMap(str(self.directory / f"{NAME}.lease")), Leader(NAME, socket=socket)
        assert not Path(socket).with_name(f"{NAME}.lease").exists(), "without a file it has to ask"
        scrape, code, body, found, term, http, grpc_hold, listed = await asyncio.gather(
            self.rig.ask("/metrics", "ops"),
            run(is_leader.main, [NAME, "--quiet", "--promise", "0", "--socket", socket]),
            run(_status, socket),
            run(mapped.look),
            run(asking.look),
            self.held_by_http(),
            self.held_by_grpc(),
            self.calls.call(f"{SERVICE}ListElections", pb.ListElectionsRequest()),
        )
        assert found is not None, "the mapping is of use"
        leads, metered = (_sample(scrape.body.decode(), metric) for metric in ("leaderd_is_leader", "leaderd_fencing_token"))
        election = pb.ListElectionsResponse.FromString(listed).elections[0]
        return {
            "metrics": (leads == 1, int(metered) or None),
            "cli is-leader": (code == 0, body["token"]),
            "cli status": (body["leader"], body["token"]),
            "mapping": (found[0] > 0, found[0] or None),
            "client": (term is not None, None if term is None else term.token),
            "http hold": (http is not None, http),
            "grpc hold": (grpc_hold is not None, grpc_hold),
            "grpc list": grpc_told(election)[:3:2],
        }

    async def held_by_http(self) -> int | None:
        """The token of a hold, which is closed at once; None when it is refused."""
        wire = await self.rig.connect("socket")
        wire.send(f"GET /v1/elections/{NAME}/hold HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        try:
            reply = await wire.reply()
            if reply.status != 200:
                return None
            event = (await wire.reader.readuntil(b"\n\n")).decode()
            found: int | None = json.loads(event.partition("data: ")[2])["token"]
            return found
        finally:
            wire.close()

    async def held_by_grpc(self) -> int | None:
        """The same over gRPC."""
        stream = self.calls.hold(election=NAME)
        try:
            message = await stream.next()
        except grpc.aio.AioRpcError:
            return None
        stream.call.cancel()
        return int(message.token)

    def lease(self) -> tuple[bool, int | None, int]:
        """What an app reads in the mapped file at this instant: leader, token, index."""
        data = (self.directory / f"{NAME}.lease").read_bytes()
        magic, sequence, token, until_ns, index = struct.unpack("<4sIQQQ", data[:32])
        assert (magic, sequence & 1) == (b"LDR1", 0)
        held = until_ns > self.rig.clock.boot_s * 1e9
        return held, token if held else None, index

    async def written(self, index: int) -> dict[str, Any]:
        """The JSON file, when it has heard of `index`."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(FileNotFoundError):  # before the first one
                    found: dict[str, Any] = json.loads((self.directory / f"{NAME}.json").read_text())
                    if found["index"] >= index:
                        return found
                await asyncio.sleep(0)


def told(body: dict[str, Any]) -> Told:
    return body["leader"], body["state"], body["token"], body["leader_instance"], body["index"]


def grpc_told(message: Any) -> Told:
    state = pb.ElectionState.Name(message.state).removeprefix("ELECTION_STATE_").lower()
    token = message.token if message.HasField("token") else None
    leader = message.leader_instance if message.HasField("leader_instance") else None
    return message.leader, state, token, leader, message.index


def _status(socket: str) -> dict[str, Any]:
    found = json.loads(status._render(status._parser().parse_args([NAME, "-o", "json", "--socket", socket])))
    elections: dict[str, Any] = found["elections"][0] if "elections" in found else found
    return elections


def _sample(text: str, metric: str) -> float:
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f'{metric}{{election="{NAME}"}}')))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with surfaces(tmp_path, snapshot(leading(index=1))) as rig:
        calls = GrpcRig(tmp_path, rig.board.snapshot)
        calls.clock, calls.board, calls.view = rig.clock, rig.board, rig.view
        await calls.open()
        files = StateFiles(rig.view, tmp_path, 0o600, None)
        files.start()
        try:
            yield World(rig, calls, files, tmp_path)
        finally:
            await files.stop()
            await calls.close()


def some_view(chance: random.Random, index: int, now_s: float) -> ElectionView:
    """Any way an election may stand."""
    token = index + 100
    term = Term(token=token, started_s=now_s - 1.0, valid_until_s=now_s + chance.choice([-0.5, 0.0, 0.001, 3.0, 9.0]))
    ours = leading(index=index, term=term)
    return chance.choice(
        [
            ours,
            leading(index=index, term=Term(token, now_s - 1.0, now_s + 5.0)),
            following(NAME, index=index),
            following(NAME, index=index, leader="pod-c"),
            following(NAME, index=index, leader=None, contenders=(), led=False, reason=Reason.STORE_UNREACHABLE),
            following(NAME, index=index, resting=State.PAUSED, reason=Reason.PAUSED, phase=Phase.OUT, contenders=()),
        ]
    )


async def heard(stream: Stream, index: int) -> dict[str, Any]:
    """The first event that has heard of `index`."""
    while True:
        _, datum, _ = await stream.event()
        if datum["index"] >= index:
            return datum


async def watched(stream: Any, index: int) -> Any:
    while (message := (await stream.next()).election).index < index:
        pass
    return message


@pytest.mark.parametrize("seed", range(2))
async def test_clients_metrics_and_holds_do_not_disagree_either(world: World, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, chance = world.rig, random.Random(seed)
    for module in ("leader", "lease", "term"):  # their clock is the kernel's, the world's is moved by hand
        monkeypatch.setattr(f"leaderd.client.{module}.clock_gettime_ns", lambda which: int(rig.clock.boot_s * 1e9))
    health = world.calls.health(f"leader/{NAME}")
    shown, seen = None, set()
    for index in range(2, 2 + STEPS // 2):
        rig.clock.boot_s += chance.choice([0.0, 0.4, 5.0])
        rig.board.publish(snapshot(some_view(chance, index, rig.clock.boot_s)))
        held, token, _ = world.lease()
        others = await world.others()
        assert set(others.values()) == {(held, token)}, (index, others)
        while shown != held:
            shown = (await health.next()).status == 1
        seen.add(held)
    assert seen == {True, False}


@pytest.mark.parametrize("seed", range(3))
async def test_no_surface_disagrees_with_another(world: World, seed: int) -> None:
    chance = random.Random(seed)
    rig = world.rig
    events, stream = await subscribe(rig), world.calls.watch()
    await watched(stream, 1)
    seen = set()
    for index in range(2, 2 + STEPS):
        wire = await rig.connect("socket")
        wire.send(f"GET /is-leader?promise=0&index={index - 1}&wait=30s HTTP/1.1\r\n\r\n".replace("1.1", "1.0").encode())
        assert (await rig.ask("/livez")).status == 200  # the blocking read has been parked by now
        rig.clock.boot_s += chance.choice([0.0, 0.4, 5.0])
        rig.board.publish(snapshot(some_view(chance, index, rig.clock.boot_s), connected=chance.random() < 0.8))
        held, token, lease_index = world.lease()
        pushed = [told(await heard(events, index)), grpc_told(await watched(stream, index)), told((await wire.reply()).json)]
        pushed.append(told(await world.written(index)))
        answers = await world.asked()
        assert len({*answers.values(), *pushed}) == 1, (index, answers, pushed)
        first = pushed[0]
        assert (held, token, lease_index) == (first[0], first[2], first[4])
        seen.add(first[1])
        wire.close()
    assert {"leader", "follower", "paused"} <= seen


async def test_time_alone_ends_it_everywhere(world: World) -> None:
    """Nothing is published: the deadline passes, and every surface says no at that instant."""
    assert {each[0] for each in (await world.asked()).values()} == {True}
    assert world.lease()[0]
    world.rig.clock.boot_s = 107.312
    assert {each[:3] for each in (await world.asked()).values()} == {next(iter((await world.asked()).values()))[:3]}
    assert {each[0] for each in (await world.asked()).values()} == {False}
    assert not world.lease()[0]
