"""Hand-over after SIGTERM while a promise is outstanding: never before it has lapsed, and soon after."""

from __future__ import annotations

from bench.candidates import Candidate
from bench.ground import Bed, Ground
from bench.handover import chain
from bench.stats import Figure, percentile, spread_ms

PROMISE_S = 1.0
SLACK_S = 0.1


def run(ground: Ground) -> list[Figure]:
    """Measure on every store."""
    count = 3 if ground.quick else 12

    def ask(leader: Candidate) -> None:
        given_s = leader.promise("jobs-0", f"{PROMISE_S:g}s")
        assert given_s >= PROMISE_S * 0.99, given_s

    def measure(bed: Bed) -> Figure:
        url = bed.url("promise")
        took_s = chain(lambda: ground.daemon(url), count, ask)
        p99_s, early = percentile(took_s, 0.99), min(took_s) < PROMISE_S - SLACK_S
        text = f"{p99_s * 1e3:.0f} ms; {spread_ms(took_s)}"
        title = f"hand-over after SIGTERM, a promise of {PROMISE_S:g} s outstanding, {bed.store}: p99"
        met = p99_s <= PROMISE_S + SLACK_S and not early
        return Figure(title, f"<= {(PROMISE_S + SLACK_S) * 1e3:g} ms", text, met, {"took_s": took_s})

    return ground.each_store(measure)
