"""Looking back over gRPC: the same terms and the same words as over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from leaderd.election.history import TermRecord
from leaderd.journal import Entry, Why
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.surfaces.fake_actions import FakeActions
from tests.surfaces.grpc_rig import SERVICE, GrpcRig, grpc_surface, refusal
from tests.surfaces.rig import following, leading, snapshot, surfaces

NAME = "daily-report"


async def asked(rig: GrpcRig, method: str, request: Any, kind: Any) -> dict[str, Any]:
    """The answer as the JSON that HTTP would give: 64-bit numbers as numbers, and null for what is not there."""
    found = kind.FromString(await rig.call(SERVICE + method, request))
    body = MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    for each in (*body.get("terms", ()), *body.get("occurrences", ())):
        each["token"] = int(each["token"]) if "token" in each else None
        for name in ("ended_at", "reason") if "terms" in body else ("last_at",):
            each.setdefault(name, None)
    return body


async def test_it_says_what_http_says(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path / "grpc", snapshot(leading())) as rig, surfaces(tmp_path, snapshot(leading())) as http:
        history = await asked(rig, "GetHistory", pb.GetHistoryRequest(), pb.GetHistoryResponse)
        assert history == (await http.ask(f"/v1/elections/{NAME}/history")).json
        assert [term["token"] for term in history["terms"]] == [42, 41]
        why = await asked(rig, "ExplainElection", pb.ExplainElectionRequest(election=NAME), pb.ExplainElectionResponse)
        expected = (await http.ask(f"/v1/elections/{NAME}/why")).json
        assert why == {"occurrences": expected.pop("entries"), **expected}
        assert json.dumps(why["occurrences"]).count("last_at") == 2


@pytest.mark.parametrize("kind", ["GetHistory", "ExplainElection"])
async def test_one_of_two_must_be_named(tmp_path: Path, kind: str) -> None:
    request = {"GetHistory": pb.GetHistoryRequest, "ExplainElection": pb.ExplainElectionRequest}[kind]
    async with grpc_surface(tmp_path, snapshot(leading(), following("invoices"))) as rig:
        assert (await refusal(rig.call(SERVICE + kind, request())))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(rig.call(SERVICE + kind, request(election="x"))))[0] is grpc.StatusCode.NOT_FOUND
        await rig.call(SERVICE + kind, request(election="invoices"))


async def test_words_of_a_store_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone surrogate can be in a record, and in no message."""
    monkeypatch.setattr(FakeActions, "history", lambda self, name: (TermRecord(1, "pod\ud800", 0.0, 1.0, "\ud800"),))
    monkeypatch.setattr(FakeActions, "why", lambda self, name: Why(name, "\ud800", (Entry(0.0, "store", "\ud800"),)))
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        history = await asked(rig, "GetHistory", pb.GetHistoryRequest(), pb.GetHistoryResponse)
        assert (history["terms"][0]["leader"], history["terms"][0]["reason"]) == ("pod?", "?")
        why = await asked(rig, "ExplainElection", pb.ExplainElectionRequest(), pb.ExplainElectionResponse)
        assert (why["summary"], why["occurrences"][0]["text"]) == ("?", "?")
