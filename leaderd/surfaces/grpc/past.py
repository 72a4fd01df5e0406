"""Looking back: the last terms of an election, and why it is, or is not, led from here; as over HTTP."""

from __future__ import annotations

from leaderd.actions import Actions
from leaderd.election.history import TermRecord
from leaderd.journal import Entry
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.grpc.calls import Call, Calls
from leaderd.surfaces.grpc.elections import SERVICE, named
from leaderd.surfaces.grpc.messages import timestamp
from leaderd.surfaces.view import View, clean, clean_text


class Past:
    """The methods that look back."""

    def __init__(self, view: View, actions: Actions) -> None:
        self._view = view
        self._actions = actions

    def add_to(self, calls: Calls) -> None:
        """Serve them."""
        calls.add_unary(f"{SERVICE}GetHistory", pb.GetHistoryRequest, self._history)
        calls.add_unary(f"{SERVICE}ExplainElection", pb.ExplainElectionRequest, self._explain)

    async def _history(self, request: pb.GetHistoryRequest, call: Call) -> pb.GetHistoryResponse:
        name = named(self._view, request.election)
        return pb.GetHistoryResponse(election=name, terms=[_term(term) for term in self._actions.history(name)])

    async def _explain(self, request: pb.ExplainElectionRequest, call: Call) -> pb.ExplainElectionResponse:
        name = named(self._view, request.election)
        why = self._actions.why(name)
        occurrences = [_occurrence(entry) for entry in why.entries]
        return pb.ExplainElectionResponse(election=name, summary=clean_text(why.summary), occurrences=occurrences)


def _term(term: TermRecord) -> pb.Term:
    return pb.Term(
        token=term.token,
        leader=clean(term.leader),
        started_at=timestamp(term.started_at_s),
        ended_at=None if term.ended_at_s is None else timestamp(term.ended_at_s),
        reason=None if term.reason is None else clean_text(term.reason),
    )


def _occurrence(entry: Entry) -> pb.Occurrence:
    return pb.Occurrence(
        at=timestamp(int(entry.at_s)),
        kind=entry.kind,
        text=clean_text(entry.text),
        token=entry.token,
        times=entry.times,
        last_at=timestamp(int(entry.last_s)) if entry.times > 1 else None,
    )
