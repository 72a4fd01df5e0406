"""OpenTelemetry spans of what an election does, for the extra `leaderd[otel]`. Loaded only where `tracing.export` is `otlp`.

Spans are made after a step (see `observing`), with the instants of the step, and leave in a thread of the SDK's own: a collector
that is slow, dead or missing costs spans and nothing else. Where they go is said by the standard `OTEL_*` variables. Attributes are
made of the view that every surface renders: names, tokens, reasons; no URL, no address, no free text, so no secret can be in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from leaderd import __version__
from leaderd.clock import Clock
from leaderd.election.state import ElectionView, Phase, Snapshot
from leaderd.errors import EXIT_CONFIG, Fatal

Attributes = dict[str, str | int | float]
_LEAVING = frozenset({Phase.RELEASING, Phase.WITHDRAWING})
_FLUSH_S = 1.0
"""For how long the end of a process waits for spans that have not left."""
_TOLD_EVERY_S = 60.0


@dataclass(slots=True)
class _Open:
    """What is under way in one election."""

    claiming_s: float | None = None
    token: int | None = None
    """Of the term held here, or that has just ended."""
    release: Span | None = None
    hand_over: Span | None = None


class Tracing:
    """An observer of the runner. `store`: its kind. Raises `Fatal` when an `OTEL_*` variable makes no sense."""

    def __init__(self, clock: Clock, instance: str, incarnation: str, store: str, say: Callable[..., None]) -> None:
        self._clock = clock
        self._say = say
        self._common: Attributes = {"leaderd.store": store, "leaderd.instance": instance}
        _quiet(say, clock)
        try:
            self._provider = _provider(incarnation)
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except Exception as error:  # noqa: BLE001 - the SDK has no type of its own for a variable it cannot read
            raise _refused(error) from None
        self._tracer = self._provider.get_tracer("leaderd", __version__)
        self._open: dict[str, _Open] = {}
        self._shown: Snapshot | None = None
        self._shown_s = 0.0
        self._ahead_s = clock.wall_s() - clock.now_s()
        self._confirmed_s: float | None = None
        self._broken = False

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Begin and end the spans of what changed."""
        self._guarded(self._see, new, now_s)

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """One span for a renewal: the session is shared by all elections, so it names every one that is held."""
        self._guarded(self._see_renewal, duration_s, margin_s)

    async def aclose(self) -> None:
        """End what is under way, and let spans leave, for a second at most; a dead collector delays no exit any longer."""
        self._guarded(self._end_all, self._clock.now_s())
        through = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            try:
                self._provider.shutdown()
            except Exception as error:  # noqa: BLE001 - nothing of ours depends on it
                logging.getLogger("leaderd").debug("spans lost at the end: %s", type(error).__name__)
            try:
                loop.call_soon_threadsafe(through.set)
            except RuntimeError:
                pass  # the loop did not wait, and is closed

        # Not the loop's executor: `asyncio.run` would wait for it without a bound.
        threading.Thread(target=flush, name="spans", daemon=True).start()
        try:
            await asyncio.wait_for(through.wait(), _FLUSH_S)
        except TimeoutError:
            pass

    def _guarded(self, call: Callable[..., None], *args: object) -> None:
        """An exception that left an observer would end leadership: what only watches must not."""
        if self._broken:
            return
        try:
            call(*args)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            self._broken = True
            self._say(logging.ERROR, f"tracing failed and is off until the next start: {type(error).__name__}")

    # ---- what is noticed

    def _see(self, new: Snapshot, now_s: float) -> None:
        self._shown, self._shown_s = new, now_s
        self._ahead_s = self._clock.wall_s() - self._clock.now_s()  # once a step: what happens at one instant bears one
        for view in new.elections.values():
            self._see_election(self._open.setdefault(view.name, _Open()), view, new.instance, now_s)

    def _see_election(self, under: _Open, view: ElectionView, instance: str, now_s: float) -> None:
        token = view.term.token if view.term is not None else None
        if under.token is not None and under.token != token and under.hand_over is None:
            what = self._about(view.name, under.token)
            under.hand_over = self._begin("leaderd.hand_over", now_s, what)
            what["leaderd.outcome"] = view.reason.value
            under.release = self._begin("leaderd.release", now_s, what, set_span_in_context(under.hand_over))
        if under.release is not None and view.phase not in _LEAVING:
            under.release.end(self._ns(now_s))
            under.release = None
        if under.hand_over is not None and view.leader is not None and (token is not None or view.leader != instance):
            under.hand_over.set_attribute("leaderd.leader", view.leader)
            self._end(under.hand_over, "led_again" if token is not None else "other_leader", now_s)
            under.hand_over = None
        if token is not None and token != under.token:
            self._record("leaderd.acquire", under.claiming_s or now_s, now_s, self._about(view.name, token), "leading")
            under.claiming_s = None
        elif view.phase is Phase.CLAIMING:
            under.claiming_s = under.claiming_s or now_s
        elif under.claiming_s is not None:
            self._record("leaderd.acquire", under.claiming_s, now_s, self._about(view.name), view.reason.value, failed=True)
            under.claiming_s = None
        under.token = token

    def _see_renewal(self, duration_s: float, margin_s: float | None) -> None:
        if self._shown is None:
            return
        held = [(name, under.token) for name, under in self._open.items() if under.token is not None]
        what = self._about(*held[0]) if len(held) == 1 else dict(self._common)
        what["leaderd.elections"] = ",".join(name for name, _ in held)
        if margin_s is not None:
            what["leaderd.margin_s"] = margin_s
        failed = self._shown.last_confirmed_s == self._confirmed_s
        self._confirmed_s = self._shown.last_confirmed_s
        end_s = self._shown_s
        self._record("leaderd.renew", end_s - duration_s, end_s, what, "failed" if failed else "confirmed", failed=failed)

    def _end_all(self, now_s: float) -> None:
        for under in self._open.values():
            if under.release is not None:
                under.release.end(self._ns(now_s))
            if under.hand_over is not None:
                self._end(under.hand_over, "left", now_s)

    # ---- spans

    def _about(self, election: str, token: int | None = None) -> Attributes:
        what = {**self._common, "leaderd.election": election}
        if token is not None:
            what |= {"leaderd.token": str(token), "leaderd.term": f"{election}/{token}"}
        return what

    def _ns(self, at_s: float) -> int:
        """An instant of the boot clock as what OpenTelemetry wants: nanoseconds since the epoch, for humans only."""
        return int((self._ahead_s + at_s) * 1e9)

    def _begin(self, name: str, at_s: float, what: Attributes, context: Context | None = None) -> Span:
        return self._tracer.start_span(name, context or Context(), attributes=what, start_time=self._ns(at_s))

    def _end(self, span: Span, outcome: str, at_s: float) -> None:
        span.set_attribute("leaderd.outcome", outcome)
        span.end(self._ns(at_s))

    def _record(self, name: str, from_s: float, to_s: float, what: Attributes, outcome: str, failed: bool = False) -> None:
        span = self._begin(name, from_s, what)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        self._end(span, outcome, to_s)


def record_exec(clock: Clock, began_s: float, election: str, token: int | None, code: int | None) -> None:
    """One span for a run of `leaderd exec` that is over, sent from this thread: who calls forks, and may have no others.

    `code`: its exit code, None if its promise was not to be had. Takes a second at most; never raises.
    """
    log = logging.getLogger("leaderd")
    try:
        _quiet(lambda *_: None, clock)
        provider = _provider(f"exec-{os.getpid()}")
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(timeout=_FLUSH_S)))
        what: Attributes = {"leaderd.election": election, "leaderd.outcome": "not_leader" if code is None else f"exit_{code}"}
        if token is not None:
            what |= {"leaderd.token": str(token), "leaderd.term": f"{election}/{token}"}
        now_s, wall_s = clock.now_s(), clock.wall_s()
        span = provider.get_tracer("leaderd", __version__).start_span(
            "leaderd.exec", Context(), attributes=what, start_time=int((wall_s - now_s + began_s) * 1e9)
        )
        span.end(int(wall_s * 1e9))
        provider.shutdown()
    except Exception as error:  # noqa: BLE001 - the command has run: its exit code is what counts
        log.debug("no span of this run: %s", type(error).__name__)


def _provider(incarnation: str) -> TracerProvider:
    resource: dict[str, str] = {"service.version": __version__, "service.instance.id": incarnation}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        resource[SERVICE_NAME] = "leaderd"
    return TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)


def _refused(error: Exception) -> Fatal:
    # Not its text: it may quote a variable that holds a secret (OTEL_EXPORTER_OTLP_HEADERS).
    return Fatal(f"tracing.export: otlp: an OTEL_* variable cannot be used ({type(error).__name__}); correct it", EXIT_CONFIG)


class _Told(logging.Handler):
    """What the SDK logs, in our words and once a minute: its own lines come by the batch and may quote headers."""

    def __init__(self, say: Callable[..., None], clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._tell = say
        self._clock = clock
        self._next_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if self._clock.now_s() >= self._next_s:
            self._next_s = self._clock.now_s() + _TOLD_EVERY_S
            self._tell(logging.WARNING, "spans do not reach the collector, or an OTEL_* variable is odd: elections go on")


def _quiet(say: Callable[..., None], clock: Clock) -> None:
    for name in ("opentelemetry", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.handlers = [_Told(say, clock)]
        logger.propagate = False
