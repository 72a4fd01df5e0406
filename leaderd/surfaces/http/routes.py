"""Which path answers what. A table and plain functions: each takes a request and returns the answer, and none can await.

Decided here: `HEAD` is `GET` without the body, promise included; `OPTIONS /is-leader` gives the same status code (load balancers
check with it) and the same promise. `GET /` names one leader, so it needs `?election=` where there are several.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from leaderd import __version__
from leaderd.actions import ActionRefused, Actions
from leaderd.board import Answer
from leaderd.metrics import CONTENT_TYPE, Metrics
from leaderd.surfaces import page
from leaderd.surfaces.http import past
from leaderd.surfaces.http.changes import Change, Changes, given, refused
from leaderd.surfaces.http.feed import Feed, Subscriber
from leaderd.surfaces.http.hold import Holds
from leaderd.surfaces.http.openapi import document
from leaderd.surfaces.http.probes import Probes
from leaderd.surfaces.http.query import Asked, asked, bad_parameter, events_asked, hold_asked, split_query
from leaderd.surfaces.http.reply import ALLOW, Response, WaitAsked, encode_json, problem
from leaderd.surfaces.http.wire import SAFE_METHODS, Refusal, Request
from leaderd.surfaces.leaders import LeaderChanges
from leaderd.surfaces.view import View, leader_instance

_MAX_SHOWN_CHARS = 80
Handler = Callable[[Request, str | None, float], Response]
"""Request, the election named in the path, and the longest promise that whoever asks may be given, in seconds."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `name` is the metrics label. `heavy`: costs milliseconds, so a flood of it must take turns."""

    name: str
    handler: Handler
    heavy: bool = False
    own_options: bool = False
    streams: str = ""
    """Which of the streams its answer is one of (`places.LIMITS`), if it is."""
    changes: Mapping[str, Change] = field(default_factory=dict)
    """What the methods do here that change something."""

    @property
    def allow(self) -> bytes:
        """The Allow header, complete."""
        return f"Allow: {', '.join((*self.changes, 'OPTIONS'))}\r\n".encode() if self.changes else ALLOW


class Routes:
    """The table of one daemon."""

    def __init__(
        self,
        view: View,
        probes: Probes,
        metrics: Metrics,
        changes: LeaderChanges,
        feed: Feed,
        holds: Holds,
        actions: Actions,
    ) -> None:
        self._actions = actions
        self._feed = feed
        self._holds = holds
        self._view = view
        self._probes = probes
        self._metrics = metrics
        self._changes = changes
        self._openapi = b""
        is_leader = Route("/is-leader", self._is_leader, own_options=True)
        self._exact = {
            "/is-leader": is_leader,
            "/": Route("/", self._who_leads),
            "/v1/elections": Route("/v1/elections", self._overview, heavy=True),
            "/v1/events": Route("/v1/events", self._events, streams="events"),
            "/v1/version": Route("/v1/version", self._version),
            "/livez": Route("/livez", self._probe),
            "/healthz": Route("/livez", self._probe),
            "/readyz": Route("/readyz", self._probe),
            "/startupz": Route("/startupz", self._probe),
            "/metrics": Route("/metrics", self._scrape, heavy=True),
            "/openapi.json": Route("/openapi.json", self._describe),
        }
        self._below = {
            "/is-leader/": is_leader,
            "/v1/elections/": Route("/v1/elections/NAME", self._election),
        }
        self._of_election = {
            "hold": Route("/v1/elections/NAME/hold", self._hold, streams="hold"),
            "history": Route("/v1/elections/NAME/history", self._history),
            "why": Route("/v1/elections/NAME/why", self._why),
            **{
                last: Route(f"/v1/elections/NAME/{last}", self._only_changes, changes=methods)
                for last, methods in Changes(actions).table.items()
            },
        }

    @property
    def usual_promise_s(self) -> float:
        """What a yes promises to those who do not say how long."""
        return self._view.board.promise_s

    def names(self) -> tuple[str, ...]:
        """Every route by the name it is counted under."""
        routes = (*self._exact.values(), *self._below.values(), *self._of_election.values())
        return tuple(dict.fromkeys(route.name for route in routes))

    def find(self, path: str) -> tuple[Route | None, str | None]:
        """The route of a path, and the election named in it."""
        route = self._exact.get(path)
        if route is not None:
            return route, None
        cut = path.rfind("/") + 1
        if path.startswith("/v1/elections/") and (named := self._of_election.get(path[cut:])) is not None:
            name = path[len("/v1/elections/") : cut - 1]
            if name and "/" not in name:
                return named, name
        below = self._below.get(path[:cut]) if cut < len(path) else None
        return (below, path[cut:]) if below is not None else (None, None)

    def answer(self, request: Request, route: Route | None, election: str | None, most_s: float, by: str) -> Response:
        """The answer of the table; refusals are problem objects like all errors. `by`: who asks, for the record of a change."""
        method = request.method
        try:
            if route is None:
                if request.path == "*":
                    return Response(204, b"", headers=ALLOW)
                raise Refusal(404, f"nothing is at {_shown(request.path)}; /openapi.json lists what there is")
            change = route.changes.get(method)
            if change is not None:
                return self._change(request, change, election or "", by)
            if method not in SAFE_METHODS or (route.changes and method != "OPTIONS"):
                return problem(Refusal(405, f"{method[:20]} is not allowed on {route.name}"), route.allow)
            if method == "OPTIONS" and not route.own_options:
                return Response(204, b"", headers=route.allow)
            return route.handler(request, election, most_s)
        except ActionRefused as error:
            return problem(refused(error))
        except Refusal as refusal:
            return problem(refusal)

    # ---- changes, and looking back

    def _change(self, request: Request, change: Change, election: str, by: str) -> Response:
        """To be done when the body makes sense; how it ends is the answer."""
        _no_parameters(request)
        if election not in self._view.board.snapshot.elections:
            raise _unknown(election, self._view.board.snapshot.elections)
        values = given(change, request.body or b"")

        async def work() -> Response:
            try:
                return await change.do(election, values, by)
            except ActionRefused as error:
                return problem(refused(error))

        return Response(0, b"", work=work)

    def _only_changes(self, request: Request, election: str | None, most_s: float) -> Response:
        raise AssertionError("answered before it is asked")

    def _history(self, request: Request, election: str | None, most_s: float) -> Response:
        _no_parameters(request)
        name = self._name(election)
        return past.history(name, self._actions.history(name))

    def _why(self, request: Request, election: str | None, most_s: float) -> Response:
        _no_parameters(request)
        return past.why(self._actions.why(self._name(election)), request)

    # ---- the question

    def _is_leader(self, request: Request, election: str | None, most_s: float) -> Response:
        wanted = request.memo
        if not isinstance(wanted, Asked):
            wanted = request.memo = asked(request.query, election)
        if wanted.index is not None and wanted.wait_s > 0.0 and not request.waited:
            name = self._name(wanted.election)
            if self._view.board.snapshot.elections[name].index == wanted.index:
                return Response(0, b"", wait=WaitAsked(name, wanted.index, wanted.wait_s))
        answer = self._ask(wanted.election, wanted.promise_s, most_s, wanted.min_valid_s, wanted.token)
        body = self._view.body(answer)
        headers = _shown_state(answer)
        if answer.leader:
            headers += f"X-Fencing-Token: {answer.token}\r\nX-Leaderd-Valid-For-Ms: {body['valid_for_ms']}\r\n"
        options = request.method == "OPTIONS"
        if options:
            headers += ALLOW.decode()
        code = wanted.leader_code if answer.leader else wanted.follower_code
        return Response(code, encode_json(body), headers=headers.encode("ascii"), silent=options)

    def _who_leads(self, request: Request, election: str | None, most_s: float) -> Response:
        accept = request.headers.get("accept", "")
        if "html" in accept and page.wanted(accept):
            return Response(200, *page.page())
        pairs = dict(split_query(request.query, ("election",)))
        # Who reads its own name here takes it for a yes, so it is one, with the usual promise.
        answer = self._ask(pairs.get("election"), None, most_s)
        name = leader_instance(answer, self._view.board.snapshot)
        found = {"name": name or "", "last_update": self._changes.last_update(answer.view.name)}
        return Response(200, encode_json(found), headers=page.VARY)

    def _ask(
        self, election: str | None, wanted_s: float | None, most_s: float, min_valid_s: float = 0.0, token: int | None = None
    ) -> Answer:
        promise_s = min(self.usual_promise_s if wanted_s is None else wanted_s, most_s)
        return self._view.ask(self._name(election), promise_s, min_valid_s, token)

    def _name(self, election: str | None) -> str:
        """The election that is meant. Raises `Refusal`."""
        names = self._view.board.snapshot.elections
        if election is None:
            if len(names) != 1:
                raise Refusal(
                    400,
                    f"there are {len(names)} elections: name one, as in ?election={next(iter(names), 'NAME')}",
                    parameter="election",
                )
            return next(iter(names))
        if election not in names:
            raise _unknown(election, names)
        return election

    # ---- the rest

    def _overview(self, request: Request, election: str | None, most_s: float) -> Response:
        _no_parameters(request)
        return Response(200, encode_json(self._view.overview()))

    def _election(self, request: Request, election: str | None, most_s: float) -> Response:
        _no_parameters(request)
        if election is None or election not in self._view.board.snapshot.elections:
            raise _unknown(election or "", self._view.names())
        return Response(200, encode_json(self._view.election(election)))

    def _events(self, request: Request, election: str | None, most_s: float) -> Response:
        wanted = events_asked(request.query, request.headers.get("last-event-id"))
        names = self._view.board.snapshot.elections
        if wanted.election is not None and wanted.election not in names:
            raise _unknown(wanted.election, names)
        promise_s = self.usual_promise_s if wanted.promise_s is None else wanted.promise_s
        return Response(200, b"", stream=Subscriber(self._feed, wanted.election, min(promise_s, most_s), wanted.since))

    def _hold(self, request: Request, election: str | None, most_s: float) -> Response:
        if request.method != "GET":
            raise Refusal(405, "a hold is a GET whose answer is a stream")
        if most_s != math.inf:
            raise Refusal(
                403, "a hold keeps a hand-over waiting: only this host may ask for one, at the app listener or the socket"
            )
        wanted = hold_asked(request.query)
        name = self._name(election)
        # No await from here until the first event is written: the promise counts from now.
        answer, stream = self._holds.take(name, wanted)
        if stream is None:
            return Response(503, encode_json(self._view.body(answer)), headers=_shown_state(answer).encode("ascii"))
        return Response(200, b"", stream=stream)

    def _version(self, request: Request, election: str | None, most_s: float) -> Response:
        _no_parameters(request)
        python = ".".join(str(part) for part in sys.version_info[:3])
        return Response(200, encode_json({"name": "leaderd", "version": __version__, "api": "v1", "python": python}))

    def _probe(self, request: Request, election: str | None, most_s: float) -> Response:
        probe = request.path[1:]
        return self._probes.answer("livez" if probe == "healthz" else probe, request.query)

    def _scrape(self, request: Request, election: str | None, most_s: float) -> Response:
        # Scrapers may add parameters of their own (`?name[]=`): they never change what a gauge says.
        return Response(200, self._metrics.render(), CONTENT_TYPE)

    def _describe(self, request: Request, election: str | None, most_s: float) -> Response:
        self._openapi = self._openapi or encode_json(document())
        return Response(200, self._openapi)


def _shown_state(answer: Answer) -> str:
    return f"X-Leaderd-Index: {answer.view.index}\r\nX-Leaderd-State: {answer.state.value}\r\n"


def _no_parameters(request: Request) -> None:
    if request.query:
        split_query(request.query, ())


def _unknown(election: str, names: object) -> Refusal:
    known = ", ".join(list(names)[:20]) if isinstance(names, dict | tuple) else ""
    shown = _shown(election)
    refused = bad_parameter("election", shown, "unknown")
    return Refusal(404, f"this daemon does not stand in {shown}; it stands in: {known or 'none'}", **refused.members)


def _shown(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
