"""Spans of real daemons and of `leaderd exec`, as a real OTLP/HTTP receiver gets them; and that nobody else ever pays for them."""

from __future__ import annotations

import http.server
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from leaderd import tracing
from leaderd.clock import BootClock
from leaderd.config import load as load_module
from leaderd.errors import EXIT_CONFIG, Fatal
from tests.system.daemons import DaemonProcess, wait_until

SECRET = "hunter2"
ON = "tracing: {export: otlp}\n"


class Receiver:
    """An OTLP/HTTP collector that keeps what it gets."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[str | None] = []
        kept = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.headers.append(self.headers["Authorization"])
                kept.bodies.append(body)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def spans(self, name: str = "") -> list[dict[str, Any]]:
        """Each with its attributes, its instants in seconds (`from`, `to`), ids and status."""
        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {each.key: each.value.string_value for each in resource.resource.attributes}
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    said = {each.key: each.value.string_value for each in span.attributes}
                    place = {"name": span.name, "from": span.start_time_unix_nano / 1e9, "to": span.end_time_unix_nano / 1e9}
                    ids = {"id": span.span_id, "parent": span.parent_span_id, "trace": span.trace_id, "status": span.status.code}
                    found.append({**said, **place, **ids, "service": service["service.name"]})
        return [span for span in found if span["name"].startswith(name)]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    there = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield there
    there.stop()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield


def test_a_hand_over_of_real_daemons_as_spans(receiver: Receiver, tmp_path: Path) -> None:
    daemons = [DaemonProcess(name, f"local://{tmp_path}/store", tmp_path, ttl="1s", config=ON) for name in ("a", "b")]
    first, second = daemons
    try:
        first.start()
        wait_until(first.leads, 10, "a leads")
        second.start()
        wait_until(lambda: second.get("/v1/elections/jobs")[1].get("state") == "follower", 10, "b waits")
        wait_until(lambda: receiver.spans("leaderd.renew"), 10, "a renewal")
        began_s = time.time()
        second_there = receiver.spans("leaderd.acquire")
        first.send(signal.SIGTERM)
        assert first.wait(10) == 0
        wait_until(lambda: len(receiver.spans("leaderd.acquire")) > len(second_there), 10, "b acquires")
        second.send(signal.SIGTERM)
        assert second.wait(10) == 0
    finally:
        for each in daemons:
            each.end()
    acquired = receiver.spans("leaderd.acquire")
    assert [(s["leaderd.instance"], s["leaderd.outcome"]) for s in acquired] == [("a", "leading"), ("b", "leading")]
    assert int(acquired[0]["leaderd.token"]) < int(acquired[1]["leaderd.token"])
    (release,) = (s for s in receiver.spans("leaderd.release") if s["leaderd.instance"] == "a")
    (hand_over,) = (s for s in receiver.spans("leaderd.hand_over") if s["leaderd.instance"] == "a")
    for span in (release, hand_over, acquired[0]):
        token = acquired[0]["leaderd.token"]
        assert (span["leaderd.election"], span["leaderd.token"], span["leaderd.term"]) == ("jobs", token, f"jobs/{token}")
        assert (span["leaderd.store"], span["service"]) == ("local", "leaderd")
    assert (release["parent"], release["trace"]) == (hand_over["id"], hand_over["trace"])
    assert release["leaderd.outcome"] == "draining"
    assert hand_over["leaderd.outcome"] in {"left", "other_leader"}
    assert began_s - 0.1 <= hand_over["from"] == release["from"] <= release["to"] <= hand_over["to"] <= time.time() + 0.1
    renewed = receiver.spans("leaderd.renew")
    assert {s["leaderd.outcome"] for s in renewed} == {"confirmed"}
    assert all(0 <= s["to"] - s["from"] < 1 for s in renewed)
    assert set(receiver.headers) == {SECRET}, "the standard variables are obeyed"
    written = b"".join(receiver.bodies) + b"".join((each.folder / "log").read_bytes() for each in daemons)
    assert SECRET.encode() not in written


def test_a_deaf_collector_costs_spans_and_nothing_else(deaf: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    daemon = DaemonProcess("a", f"local://{tmp_path}/store", tmp_path, ttl="1s", config=ON)
    try:
        daemon.start()
        wait_until(daemon.leads, 10, "it leads")
        token = daemon.get("/is-leader")[1]["token"]
        line = daemon.says("spans do not reach the collector")
        assert SECRET not in (daemon.folder / "log").read_text()
        assert line["level"] == "warning"
        assert daemon.get("/is-leader")[1]["token"] == token, "several renewals later the term is the same"
        began_s = time.monotonic()
        daemon.send(signal.SIGTERM)
        assert daemon.wait(10) == 0
        assert time.monotonic() - began_s < 3.5, "the promise, and a second for the spans"
    finally:
        daemon.end()


OFF = """
import sys
from leaderd import daemon, log
from leaderd.config.load import load
config = load(None, {"LEADERD_RUNTIME_DIR": sys.argv[1], "LEADERD_TRACING": sys.argv[2]},
              {"store.url": "local://" + sys.argv[1], "elections": ["jobs"]})
made = daemon.Daemon(config, lambda: config, log.start("json", "info"))
observers = made._runner._observers[0].observers
print(sum(name.split(".")[0] in {"opentelemetry", "requests"} for name in sys.modules) > 0,
      any("tracing" in type(each).__module__ for each in observers), made._tracing is not None)
"""


@pytest.mark.parametrize(("word", "there"), [("off", "False False False"), ("otlp", "True True True")])
def test_off_is_not_even_loaded(tmp_path: Path, word: str, there: str) -> None:
    done = subprocess.run([sys.executable, "-c", OFF, str(tmp_path), word], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == there, done.stderr


def run_exec(daemon: DaemonProcess, script: str) -> tuple[int, float]:
    environ = {**os.environ, "LEADERD_SOCKET": str(daemon.socket), "LEADERD_TRACING": "otlp"}
    began_s = time.monotonic()
    words = [sys.executable, "-m", "leaderd", "exec", "--wait", "10s", "--", "sh", "-c", script]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=30)
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, time.monotonic() - began_s


def test_a_run_of_exec_is_a_span(receiver: Receiver, tmp_path: Path) -> None:
    daemon = DaemonProcess("a", f"local://{tmp_path}/store", tmp_path)
    try:
        daemon.start()
        assert run_exec(daemon, "exit 7")[0] == 7
        token = str(daemon.get("/is-leader")[1]["token"])
    finally:
        daemon.end()
    (span,) = receiver.spans()
    assert (span["name"], span["leaderd.election"], span["leaderd.outcome"]) == ("leaderd.exec", "jobs", "exit_7")
    assert (span["leaderd.token"], span["leaderd.term"]) == (token, f"jobs/{token}")
    assert 0 < span["to"] - span["from"] < 10


def test_exec_keeps_its_code_beside_a_deaf_collector(deaf: None, tmp_path: Path) -> None:
    daemon = DaemonProcess("a", f"local://{tmp_path}/store", tmp_path)
    try:
        daemon.start()
        wait_until(daemon.leads, 10, "it leads")
        code, took_s = run_exec(daemon, "exit 7")
    finally:
        daemon.end()
    assert code == 7
    assert took_s < 6


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What tracing says; the loggers it takes for itself are given back."""
    loggers = [logging.getLogger(name) for name in ("opentelemetry", "urllib3", "requests")]
    yield []
    for logger in loggers:
        logger.handlers, logger.propagate = [], True


async def test_what_fails_in_tracing_ends_no_leadership(said: list[str]) -> None:
    traced = tracing.Tracing(BootClock(1.0), "a", "1", "local", lambda _level, text: said.append(text))
    for _ in range(2):
        traced.published(None, None, 0.0)  # type: ignore[arg-type] - anything that makes it fail
    assert said == ["tracing failed and is off until the next start: AttributeError"]
    await traced.aclose()


def test_a_variable_that_makes_no_sense_is_refused_without_its_value(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", SECRET)
    with pytest.raises(Fatal) as refused:
        tracing.Tracing(BootClock(1.0), "a", "1", "local", lambda *_: None)
    assert refused.value.code == EXIT_CONFIG
    assert "OTEL_*" in refused.value.message
    assert SECRET not in refused.value.message


def test_without_the_extra_the_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_has_opentelemetry", lambda: False)
    flags = {"store.url": f"local://{tmp_path}", "elections": ["jobs"]}
    problems = load_module.load(None, {"LEADERD_RUNTIME_DIR": str(tmp_path), "LEADERD_TRACING": "otlp"}, flags)
    assert isinstance(problems, list)
    assert [problem.key for problem in problems] == ["tracing.export"]
    assert "pip install 'leaderd[otel]'" in str(problems[0])
