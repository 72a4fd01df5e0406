"""gRPC: the same answers as HTTP, refusals with reasons, and a guard before everything that changes something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from leaderd.election.pause import Pause
from leaderd.election.problems import Reason
from leaderd.election.state import State, Term
from leaderd.surfaces.grpc import elections
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.grpc.calls import MAX_STREAMS
from leaderd.surfaces.grpc.doorman import STRANGER, Caller
from tests.surfaces.grpc_rig import CHANGES, HEALTH, MEANT, SERVICE, grpc_surface, refusal
from tests.surfaces.rig import following, leading, snapshot

CODE = grpc.StatusCode


def as_body(message: pb.Election) -> dict[str, Any]:
    """The message as the JSON that `/is-leader` would have."""
    values = {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            values[field.name] = None
    state = pb.ElectionState.Name(message.state).removeprefix("ELECTION_STATE_").lower()
    at: Timestamp | None = values["term_started_at"]
    store = message.store
    return values | {
        "state": state,
        "election": values.pop("name"),
        "token_text": None if values["token"] is None else str(values["token"]),
        "term_started_at": None if at is None else at.ToJsonString(),
        "store": {
            "kind": store.kind,
            "connected": store.connected,
            "last_seen_ms": store.last_seen_ms if store.HasField("last_seen_ms") else None,
        },
    }


STANDS = [
    leading(),
    leading(silent=True, reason=Reason.STORE_SILENT),
    leading(term=Term(42, 95.0, 99.0)),
    leading(term=Term(42, 95.0, 107.0, doubted=True)),
    following(),
    following(leader=None, contenders=()),
    following(resting=State.PAUSED, reason=Reason.PAUSED, pause=Pause("uid 0", "upgrade", 1_795_420_800.0)),
    following(resting=State.DRAINING, reason=Reason.DRAINING),
    following(resting=State.STARTING, reason=Reason.STARTING),
]


@pytest.mark.parametrize("view", STANDS, ids=lambda view: f"{view.resting.value}-{view.reason.value}")
async def test_it_says_what_http_says(tmp_path: Path, view: Any) -> None:
    async with grpc_surface(tmp_path, snapshot(view)) as rig:
        reply = await rig.get()
        expected = json.loads(json.dumps(rig.view.body(rig.view.ask("daily-report"))))
        assert as_body(reply.election) == expected
        whole = rig.view.election("daily-report")
        assert [candidate.instance for candidate in reply.candidates] == [each["instance"] for each in whole["candidates"]]
        assert [candidate.leader for candidate in reply.candidates] == [each["leader"] for each in whole["candidates"]]
        shown = MessageToDict(reply.pause, preserving_proto_field_name=True) if reply.HasField("pause") else None
        assert shown == whole["pause"]
        assert reply.timing.ttl == Duration(seconds=10)
        assert reply.timing.valid_for_max.ToTimedelta().total_seconds() == whole["timing"]["valid_for_max_s"]


def test_every_state_has_a_name() -> None:
    assert {f"ELECTION_STATE_{state.name}" for state in State} | {"ELECTION_STATE_UNSPECIFIED"} == set(pb.ElectionState.keys())


async def test_a_yes_is_a_promise_of_the_length_that_was_asked_for(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        assert (await rig.get()).election.valid_for_ms == 1000
        assert (await rig.get(promise=Duration(seconds=3))).election.valid_for_ms == 3000
        assert (await rig.get(promise=Duration(seconds=60))).election.valid_for_ms == 7312
        assert [until_s for until_s in rig.promised() if until_s > 100.0] == [101.0, 103.0, 107.312]
        assert (await rig.get(promise=Duration())).election.valid_for_ms == 0
        assert rig.promised()[-1] == 100.0


async def test_the_deadline_is_compared_when_it_is_asked(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        rig.clock.boot_s = 107.311
        assert (await rig.get()).election.leader
        rig.clock.boot_s = 107.312
        found = (await rig.get()).election
        assert (found.leader, found.reason, found.HasField("token")) == (False, "lease_expired", False)


async def test_conditions(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        assert (await rig.get(min_valid=Duration(seconds=7))).election.leader
        assert (await rig.get(min_valid=Duration(seconds=8))).election.reason == "min_valid_unmet"
        assert (await rig.get(token=42)).election.leader
        assert (await rig.get(token=0)).election.reason == "other_term"


async def test_one_of_two_must_be_named(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading(), following("invoices"))) as rig:
        assert await refusal(rig.get()) == (CODE.INVALID_ARGUMENT, "election: there are 2; name one")
        assert not (await rig.get(election="invoices")).election.leader
        code, detail = await refusal(rig.get(election="n" * 500))
        assert code is CODE.NOT_FOUND
        assert detail.endswith("...'; it stands in: daily-report, invoices")
        assert len(detail) < 200
        reply = pb.ListElectionsResponse.FromString(await rig.call(f"{SERVICE}ListElections", pb.ListElectionsRequest()))
        assert [(each.name, each.leader) for each in reply.elections] == [("daily-report", True), ("invoices", False)]
        assert (reply.instance, reply.instance_uid, reply.incarnation) == ("pod-7d9c", "uid-1", "f00d")
        assert reply.store.kind == "etcd"
        assert all(until_s <= 100.0 for until_s in rig.promised())


BAD = [
    (b"\xff", "the request is no GetElectionRequest"),
    (b"\x0a\x02\xff\xfe", "the request is no GetElectionRequest"),
    (pb.GetElectionRequest(promise=Duration(seconds=-1)).SerializeToString(), "promise: is no duration"),
    (pb.GetElectionRequest(promise=Duration(nanos=-1)).SerializeToString(), "promise: is no duration"),
    (pb.GetElectionRequest(promise=Duration(nanos=1_000_000_000)).SerializeToString(), "promise: is no duration"),
    (pb.GetElectionRequest(min_valid=Duration(seconds=1 << 40)).SerializeToString(), "min_valid: is no duration"),
]


@pytest.mark.parametrize(("data", "text"), BAD)
async def test_bad_requests(tmp_path: Path, data: bytes, text: str) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        code, detail = await refusal(rig.channel.unary_unary(f"{SERVICE}GetElection")(data))
        assert code is CODE.INVALID_ARGUMENT
        assert text in detail
        assert rig.promised() == []
        assert b'route="/leaderd.v1.ElectionService/GetElection"' in rig.metrics.render()


async def test_a_large_message_is_refused_unread(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        assert (await refusal(rig.get(election="n" * 20_000)))[0] is CODE.RESOURCE_EXHAUSTED


async def test_what_is_not_there(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        for path in ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", f"{SERVICE}Nothing", f"{HEALTH}List"):
            assert (await refusal(rig.call(path, pb.ListElectionsRequest())))[0] is CODE.UNIMPLEMENTED


async def test_a_fault_shows_nothing_of_itself(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    def broken(view: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(elections, "overview", broken)
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        for _ in range(3):
            code, detail = await refusal(rig.call(f"{SERVICE}ListElections", pb.ListElectionsRequest()))
            assert code is CODE.INTERNAL
            assert "canary" not in detail
    assert [record.getMessage() for record in caplog.records if "canary" in record.getMessage()] == [
        f"fault while answering {SERVICE}ListElections: RuntimeError: canary"
    ]


# ---- who may change things


@pytest.mark.parametrize("name", CHANGES)
async def test_changes_need_the_header(tmp_path: Path, name: str) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        for metadata in ((), (("x-leaderd-request", "0"),), (("x-leaderd-request", ""),)):
            code, detail = await refusal(rig.call(SERVICE + name, CHANGES[name], metadata))
            assert (code, detail) == (CODE.PERMISSION_DENIED, "changes need the metadata x-leaderd-request: 1")
        assert rig.actions.asked == []
        await rig.call(SERVICE + name, CHANGES[name], MEANT)
        assert len(rig.actions.asked) == 1


WEB = [("origin", "https://evil.example"), ("origin", "null"), ("origin", ""), ("sec-fetch-site", "same-origin")]


@pytest.mark.parametrize("header", WEB, ids=str)
async def test_no_web_page_changes_or_holds_anything(tmp_path: Path, header: tuple[str, str]) -> None:
    """No browser speaks gRPC; a gateway that makes a call of a browser's request carries these on."""
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        for name, request in CHANGES.items():
            found = await refusal(rig.call(SERVICE + name, request, (*MEANT, header)))
            assert found == (CODE.PERMISSION_DENIED, "a web page may not do this")
        held = pb.HoldTermRequest(promise=Duration(seconds=5))
        call = rig.channel.unary_stream(f"{SERVICE}HoldTerm")(held.SerializeToString(), metadata=(header,))
        assert (await refusal(call.read()))[0] is CODE.PERMISSION_DENIED
        asked = pb.GetElectionRequest(promise=Duration(seconds=5))
        reply = pb.GetElectionResponse.FromString(await rig.call(f"{SERVICE}GetElection", asked, (header,)))
        assert (reply.election.leader, reply.election.valid_for_ms) == (True, 0)
        assert rig.actions.asked == []


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("caller", "text"),
    [
        (STRANGER, "changes need the Unix socket or loopback"),
        (Caller(uid=4_000_000), "user 4000000 is not among operators.uids"),
        (Caller(uid=1000), None),
        (Caller(uid=os.geteuid()), None),
        (Caller(uid=0), None),
        (Caller(loopback=True), None),
    ],
)
async def test_changes_need_somebody_who_may(tmp_path: Path, monkeypatch: Any, name: str, caller: Caller, text: str | None) -> None:
    async with grpc_surface(tmp_path, snapshot(leading()), operators=(1000,)) as rig:
        monkeypatch.setattr(rig.surface.doorman, "caller", lambda peer: caller)
        if text is None:
            await rig.call(SERVICE + name, CHANGES[name], MEANT)
        else:
            assert await refusal(rig.call(SERVICE + name, CHANGES[name], MEANT)) == (CODE.PERMISSION_DENIED, text)
        assert len(rig.actions.asked) == (text is None)


async def test_who_is_elsewhere_holds_nothing_up_by_more_than_usual(tmp_path: Path, monkeypatch: Any) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        monkeypatch.setattr(rig.surface.doorman, "caller", lambda peer: STRANGER)
        assert (await rig.get(promise=Duration(seconds=5))).election.valid_for_ms == 1000
        stream = rig.hold(promise=Duration(seconds=5))
        assert (await stream.next()).valid_for_ms == 1000


async def test_streams_are_limited(tmp_path: Path, monkeypatch: Any) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        monkeypatch.setattr(rig.surface._calls, "_streams", MAX_STREAMS)
        assert (await refusal(rig.watch().next()))[0] is CODE.RESOURCE_EXHAUSTED
        monkeypatch.setattr(rig.surface._calls, "_streams", MAX_STREAMS - 1)
        assert (await rig.watch().next()).election.leader
