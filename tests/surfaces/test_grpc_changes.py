"""The methods that change something ask `Actions` the same as HTTP does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from leaderd.actions import ActionRefused, Refusal
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.surfaces.grpc_rig import MEANT, SERVICE, GrpcRig, grpc_surface, refusal
from tests.surfaces.rig import PATIENCE_S, following, leading, snapshot

CODE = grpc.StatusCode
BY = f"uid {os.geteuid()}"
NAME = "daily-report"
ASKED: list[tuple[str, Any, Any, tuple[Any, ...]]] = [
    ("Resign", pb.ResignRequest(), pb.ResignResponse, ("resign", NAME, 0.0, None)),
    (
        "Resign",
        pb.ResignRequest(election=NAME, cooldown=Duration(seconds=30), if_token=42),
        pb.ResignResponse,
        ("resign", NAME, 30.0, 42),
    ),
    ("Transfer", pb.TransferRequest(to="pod-b"), pb.TransferResponse, ("transfer", NAME, "pod-b", 10.0, None)),
    (
        "Transfer",
        pb.TransferRequest(to="pod-b", timeout=Duration(seconds=2), if_token=0),
        pb.TransferResponse,
        ("transfer", NAME, "pod-b", 2.0, 0),
    ),
    ("SetCandidacy", pb.SetCandidacyRequest(standing=True), pb.SetCandidacyResponse, ("candidacy", NAME, True)),
    ("SetCandidacy", pb.SetCandidacyRequest(), pb.SetCandidacyResponse, ("candidacy", NAME, False)),
    (
        "SetPaused",
        pb.SetPausedRequest(paused=True, reason="upgrade", expires_in=Duration(seconds=3600)),
        pb.SetPausedResponse,
        ("pause", NAME, "upgrade", BY, 3600.0),
    ),
    ("SetPaused", pb.SetPausedRequest(), pb.SetPausedResponse, ("resume", NAME)),
]


async def test_each_asks_for_its_action(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        for method, request, kind, wanted in ASKED:
            reply = kind.FromString(await rig.call(SERVICE + method, request, MEANT))
            assert rig.actions.asked[-1] == wanted
            assert (reply.election.name, reply.election.token) == (NAME, 42)
            if method == "Transfer":
                assert reply.confirmed
        # What they show is a look: nobody is promised anything.
        assert all(until_s <= rig.clock.now_s() for until_s in rig.promised())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Refusal.UNKNOWN_ELECTION, CODE.NOT_FOUND),
        (Refusal.NO_SUCH_CANDIDATE, CODE.NOT_FOUND),
        (Refusal.INVALID, CODE.INVALID_ARGUMENT),
        (Refusal.NOT_LEADER, CODE.FAILED_PRECONDITION),
        (Refusal.CONFLICT, CODE.FAILED_PRECONDITION),
        (Refusal.TOKEN_MISMATCH, CODE.ABORTED),
        (Refusal.NOT_SUPPORTED, CODE.UNIMPLEMENTED),
        (Refusal.STORE_UNAVAILABLE, CODE.UNAVAILABLE),
    ],
)
async def test_refusals(tmp_path: Path, kind: Refusal, code: grpc.StatusCode) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        rig.actions.refuse = ActionRefused(kind, "no, because")
        for method, request, _, _ in ASKED:
            assert await refusal(rig.call(SERVICE + method, request, MEANT)) == (code, "no, because")


async def test_bad_requests(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(), following("invoices"))) as rig:
        for method, request, code in (
            ("Resign", pb.ResignRequest(), CODE.INVALID_ARGUMENT),
            ("Resign", pb.ResignRequest(election="nope"), CODE.NOT_FOUND),
            ("Resign", pb.ResignRequest(election=NAME, cooldown=Duration(seconds=-1)), CODE.INVALID_ARGUMENT),
            ("Transfer", pb.TransferRequest(election=NAME), CODE.INVALID_ARGUMENT),
        ):
            assert (await refusal(rig.call(SERVICE + method, request, MEANT)))[0] is code
        assert rig.actions.asked == []


async def test_who_goes_away_does_not_undo_it(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        rig.actions.go.clear()
        call = rig.channel.unary_unary(f"{SERVICE}Resign")(pb.ResignRequest().SerializeToString(), metadata=MEANT)
        async with asyncio.timeout(PATIENCE_S):
            while not rig.actions.asked:
                await asyncio.sleep(0)
        call.cancel()
        await rig.check("")  # served meanwhile
        assert len(rig.surface._changes._acting) == 1
        rig.actions.go.set()
        async with asyncio.timeout(PATIENCE_S):
            while rig.surface._changes._acting:
                await asyncio.sleep(0)


async def answer(rig: GrpcRig, method: str, request: Any, kind: Any) -> dict[str, Any]:
    """What the answer says besides how this instance stands."""
    found = MessageToDict(
        kind.FromString(await rig.call(SERVICE + method, request, MEANT)),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    assert found.pop("election")["leader"] is True
    return found


async def test_answers_say_what_http_says(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        done = await answer(rig, "Resign", pb.ResignRequest(), pb.ResignResponse)
        assert done == {"token": "42", "released": True, "took_ms": "250"}
        done = await answer(rig, "Transfer", pb.TransferRequest(to="pod-b"), pb.TransferResponse)
        assert done == {"token": "42", "to": "pod-b", "confirmed": True, "new_token": "43", "leaderless_ms": "500"}
        rig.actions.confirmed = False
        done = await answer(rig, "Transfer", pb.TransferRequest(to="pod-b"), pb.TransferResponse)
        assert done == {"token": "42", "to": "pod-b", "confirmed": False}
        done = await answer(rig, "SetCandidacy", pb.SetCandidacyRequest(standing=True), pb.SetCandidacyResponse)
        assert done == {"standing": True, "changed": True}
        asked = pb.SetPausedRequest(paused=True, reason="upgrade", expires_in=Duration(seconds=3600))
        done = await answer(rig, "SetPaused", asked, pb.SetPausedResponse)
        assert done == {"pause": {"by": BY, "reason": "upgrade", "expires_at": "2026-11-23T08:00:00Z"}}
        done = await answer(rig, "SetPaused", pb.SetPausedRequest(), pb.SetPausedResponse)
        assert done == {"was": {"by": "uid 0", "reason": "upgrade"}}


async def test_a_watcher_hears_that_the_queue_has_changed(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        stream = rig.watch()
        assert (await stream.next()).kind == pb.CHANGE_KIND_STATE
        rig.board.publish(snapshot(leading(contenders=leading().contenders[:1])))
        assert (await stream.next()).kind == pb.CHANGE_KIND_STATE
