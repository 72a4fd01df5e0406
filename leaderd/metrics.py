"""Metrics for Prometheus. What is a state is read from the board at the scrape, so it cannot be stale; what is an event is counted.

Label values come from closed lists (configured elections, states, reasons, routes): nobody outside can make new series. Every
series is there, as 0, from the start, so that an alert sees the first step and not a missing series.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from leaderd import __version__
from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Snapshot, State

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CODES = frozenset({200, 204, 400, 403, 404, 405, 408, 413, 414, 417, 421, 431, 500, 503, 505})
_NEVER_ENDS_A_TERM = frozenset(
    {Reason.STARTING, Reason.STANDING, Reason.LEASE_HELD, Reason.STORE_SILENT, Reason.MIN_VALID_UNMET, Reason.OTHER_TERM}
)
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(slots=True)
class _Counts:
    step_downs: dict[Reason, int] = field(default_factory=lambda: {r: 0 for r in Reason if r not in _NEVER_ENDS_A_TERM})
    renewals: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    renewals_sum_s: float = 0.0
    renew_margin_s: float = 0.0
    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)


class Metrics(Collector):
    """An observer of the runner and the source of `/metrics`.

    `last_answer_s`: when the store last answered, seconds since boot. `stall_s`: the longest that the runner's timer came late.
    `catch_up` is called before anything is rendered, and tells what has yet to be told.
    """

    def __init__(
        self,
        board: Board,
        clock: Clock,
        last_answer_s: Callable[[], float | None] = lambda: None,
        stall_s: Callable[[], float] = lambda: 0.0,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._last_answer_s = last_answer_s
        self._stall_s = stall_s
        self._catch_up = catch_up
        self._counts = _Counts()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Everything in the text format 0.0.4, as of now."""
        self._catch_up()
        return generate_latest(self._registry)

    # ---- events

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Count the terms that ended."""
        for name, view in new.elections.items():
            before = old.elections[name].term
            if before is not None and (view.term is None or view.term.token != before.token):
                self._counts.step_downs[view.reason] = self._counts.step_downs.get(view.reason, 0) + 1

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """Count a renewal that was answered."""
        counts = self._counts
        counts.renewals[bisect_left(_BUCKETS_S, duration_s)] += 1
        counts.renewals_sum_s += duration_s
        if margin_s is not None:
            counts.renew_margin_s = margin_s

    def expect_requests(self, routes: Iterable[str], listeners: Sequence[str]) -> None:
        """Have these series there, as 0, before the first request."""
        for route in routes:
            for listener in listeners:
                for code in ("200", "503") if route == "/is-leader" else ("200",):
                    self._counts.requests.setdefault((route, code, listener), 0)

    def count_request(self, route: str, code: int, listener: str) -> None:
        """Count one answer; a code that callers chose for themselves is `other`."""
        key = (route, str(code) if code in _CODES else "other", listener)
        self._counts.requests[key] = self._counts.requests.get(key, 0) + 1

    # ---- the scrape

    def collect(self) -> Iterator[Family]:
        """All families of ours, from one snapshot and one instant."""
        snapshot, instant = self._board.snapshot, self._clock.instant()
        to_wall_s = self._clock.wall_s() - instant.boot_s
        views = list(snapshot.elections.values())
        held = instant.jumps == snapshot.jumps
        yield from _elections(views, instant.boot_s, to_wall_s, held)
        yield _gauge("leaderd_store_connected", "Whether the store answers.", float(snapshot.connected))
        seen = [at_s for at_s in (snapshot.last_confirmed_s, self._last_answer_s()) if at_s is not None]
        last_seen_s = max(seen) + to_wall_s if seen else 0.0
        yield _gauge("leaderd_store_last_seen_timestamp_seconds", "When the store last answered, 0 if never.", last_seen_s)
        text = "The ttl of the session, as the store granted it; 0 while there is none."
        yield _gauge("leaderd_session_ttl_seconds", text, snapshot.session_ttl_s or 0.0)
        jumps = CounterMetricFamily("leaderd_clock_jumps", "Steps between wall clock and boot clock (VM pause, clock set).")
        jumps.add_metric([], instant.jumps)
        yield jumps
        yield _gauge("leaderd_loop_stall_seconds", "The longest that the loop's timer came late, since the start.", self._stall_s())
        info = GaugeMetricFamily("leaderd_build_info", "Which leaderd this is; always 1.", labels=["version", "python"])
        info.add_metric([__version__, ".".join(str(part) for part in sys.version_info[:3])], 1.0)
        yield info
        yield from self._events()

    def _events(self) -> Iterator[Family]:
        counts = self._counts
        downs = CounterMetricFamily("leaderd_step_downs", "Terms that ended here, by reason.", labels=["reason"])
        for reason, count in counts.step_downs.items():
            downs.add_metric([reason.value], count)
        yield downs
        buckets, total = [], 0
        for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), counts.renewals, strict=True):
            total += count
            buckets.append((bound, float(total)))
        renewals = HistogramMetricFamily("leaderd_renew_duration_seconds", "From the send of a renewal to its answer, good or bad.")
        renewals.add_metric([], buckets, counts.renewals_sum_s)
        yield renewals
        yield _gauge(
            "leaderd_renew_margin_seconds", "What was left of the lease when the last renewal came.", counts.renew_margin_s
        )
        requests = CounterMetricFamily("leaderd_api_requests", "Answers given.", labels=["route", "code", "listener"])
        for labels, count in counts.requests.items():
            requests.add_metric(labels, count)
        yield requests


def _elections(views: list[ElectionView], now_s: float, to_wall_s: float, clock_known: bool) -> Iterator[Family]:
    """`clock_known`: no clock jump that the core has not been told of; else no term counts as held, as in every answer."""
    terms = {view.name: view.term for view in views if clock_known and view.term is not None and view.term.held(now_s)}
    status = GaugeMetricFamily(
        "leader_election_master_status", "Whether this instance leads, as client-go has it.", labels=["name"]
    )
    for view in views:
        status.add_metric([view.name], float(view.name in terms))
    yield status
    yield _per_election("leaderd_is_leader", "Whether this instance leads.", views, lambda view: view.name in terms)
    states = GaugeMetricFamily("leaderd_state", "1 for the state this instance is in.", labels=["election", "state"])
    for view in views:
        doubtful = not clock_known and view.term is not None and view.term.held(now_s)
        is_in = State.UNKNOWN if doubtful else view.state_at(now_s)
        for state in State:
            states.add_metric([view.name, state.value], float(state is is_in))
    yield states

    def token(view: ElectionView) -> float:
        return terms[view.name].token if view.name in terms else 0

    def valid_until_s(view: ElectionView) -> float:
        return terms[view.name].valid_until_s + to_wall_s if view.name in terms else 0.0

    def started_s(view: ElectionView) -> float:
        return terms[view.name].started_s + to_wall_s if view.name in terms else 0.0

    yield _per_election("leaderd_fencing_token", "Token of the term held here, 0 if none.", views, token)
    yield _per_election("leaderd_valid_until_timestamp_seconds", "Until when the term is held, 0 if none.", views, valid_until_s)
    yield _per_election("leaderd_term_start_timestamp_seconds", "When the term began, 0 if none.", views, started_s)
    led = CounterMetricFamily("leaderd_terms", "Terms led by this process.", labels=["election"])
    for view in views:
        led.add_metric([view.name], view.terms)
    yield led
    yield _per_election(
        "leaderd_contending", "Whether this instance stands, or will again by itself.", views, lambda view: view.standing
    )
    yield _per_election("leaderd_candidates", "Entries in the election, as last seen.", views, lambda view: len(view.contenders))
    yield _per_election("leaderd_paused", "Whether the election is paused.", views, lambda view: view.resting is State.PAUSED)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _per_election(name: str, text: str, views: list[ElectionView], value: Callable[[ElectionView], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["election"])
    for view in views:
        family.add_metric([view.name], float(value(view)))
    return family
