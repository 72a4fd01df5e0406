"""`leaderd.v1.ElectionService`: the question.

No handler awaits between asking the board and returning its message; grpc serializes and sends that in the same turn of the loop.
"""

from __future__ import annotations

import grpc

from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.grpc.calls import Call, Calls, Refused, duration_s
from leaderd.surfaces.grpc.messages import overview, whole
from leaderd.surfaces.view import View

SERVICE = "/leaderd.v1.ElectionService/"
_MAX_SHOWN_CHARS = 80


class Elections:
    """The methods that only read, with one answer."""

    def __init__(self, view: View) -> None:
        self._view = view

    def add_to(self, calls: Calls) -> None:
        """Serve them."""
        calls.add_unary(f"{SERVICE}GetElection", pb.GetElectionRequest, self._get)
        calls.add_unary(f"{SERVICE}ListElections", pb.ListElectionsRequest, self._list)

    async def _get(self, request: pb.GetElectionRequest, call: Call) -> pb.GetElectionResponse:
        name = named(self._view, request.election)
        min_valid_s = duration_s(request, "min_valid") or 0.0
        token = request.token if request.HasField("token") else None
        answer = self._view.ask(name, promised_s(self._view, request, call), min_valid_s, token)
        return whole(self._view, answer)

    async def _list(self, request: pb.ListElectionsRequest, call: Call) -> pb.ListElectionsResponse:
        return overview(self._view)


def named(view: View, election: str) -> str:
    """The election that is meant; it may be left out where there is one only. Raises `Refused`."""
    names = view.board.snapshot.elections
    if not election:
        if len(names) != 1:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"election: there are {len(names)}; name one")
        return next(iter(names))
    if election not in names:
        shown = election if len(election) <= _MAX_SHOWN_CHARS else election[:_MAX_SHOWN_CHARS] + "..."
        known = ", ".join(list(names)[:20]) or "none"
        raise Refused(grpc.StatusCode.NOT_FOUND, f"this daemon does not stand in {shown!r}; it stands in: {known}")
    return election


def promised_s(view: View, request: pb.GetElectionRequest | pb.WatchElectionRequest | pb.HoldTermRequest, call: Call) -> float:
    """For how long a yes shall hold. Who is not on this host cannot hold a release up by more than the usual promise, and a web
    page not at all."""
    usual_s = view.board.promise_s
    asked_s = duration_s(request, "promise")
    if call.from_web:
        return 0.0
    if asked_s is None:
        return usual_s
    return asked_s if call.caller.local else min(asked_s, usual_s)
