"""The one rendering, as messages: what `View` says about an answer, field by field. Nothing here decides anything."""

from __future__ import annotations

import functools

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from leaderd.board import Answer
from leaderd.election.pause import Pause
from leaderd.election.state import State
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.view import Body, View, clean, clean_text

_STATES = {state.value: f"ELECTION_STATE_{state.name}" for state in State}
_AS_THEY_ARE = (
    "leader",
    "reason",
    "token",
    "instance",
    "leader_instance",
    "valid_for_ms",
    "valid_until_boottime_ns",
    "lease_remaining_ms",
    "index",
)


def election(view: View, answer: Answer) -> pb.Election:
    """How this instance stands, as the answer has it."""
    return _election(view.body(answer))


def whole(view: View, answer: Answer) -> pb.GetElectionResponse:
    """The same, with the queue and the times."""
    body = {**view.election(answer.view.name), **view.body(answer)}
    timing = body["timing"]
    return pb.GetElectionResponse(
        election=_election(body),
        candidates=[pb.Candidate(**candidate) for candidate in body["candidates"]],
        pause=pause(answer.view.pause),
        timing=pb.Timing(
            ttl=_duration(timing["ttl_s"]),
            renew_every=_duration(timing["renew_every_s"]),
            valid_for_max=_duration(timing["valid_for_max_s"]),
            promise=_duration(timing["promise_s"]),
        ),
    )


def overview(view: View) -> pb.ListElectionsResponse:
    """This daemon and all its elections; nothing is promised."""
    body = view.overview()
    return pb.ListElectionsResponse(
        instance=body["instance"],
        instance_uid=body["instance_uid"],
        incarnation=body["incarnation"],
        store=pb.Store(**body["store"]),
        elections=[_election(each) for each in body["elections"]],
    )


def pause(found: Pause | None) -> pb.Pause | None:
    """A pause; None if there is none."""
    if found is None:
        return None
    until = None if found.expires_at_s is None else timestamp(found.expires_at_s)
    return pb.Pause(by=clean(found.by), reason=clean_text(found.reason), expires_at=until)


def timestamp(at_s: float) -> Timestamp:
    """Seconds since the epoch; whole ones, as over HTTP."""
    return Timestamp(seconds=round(at_s))


def _election(body: Body) -> pb.Election:
    found = pb.Election(
        name=body["election"],
        state=_STATES[body["state"]],
        store=pb.Store(**body["store"]),
        **{field: body[field] for field in _AS_THEY_ARE},
    )
    if body["term_started_at"] is not None:
        found.term_started_at.CopyFrom(_read_timestamp(body["term_started_at"]))
    return found


@functools.lru_cache(maxsize=64)
def _read_timestamp(text: str) -> Timestamp:
    found = Timestamp()
    found.FromJsonString(text)
    return found


def _duration(seconds: float) -> Duration:
    whole_s, nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole_s, nanos=nanos)
