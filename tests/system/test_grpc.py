"""gRPC of real daemons: a client with nothing but grpc and the messages, and promises that outlive a connection."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from leaderd.surfaces.grpc._proto import leaderd_health_subset_pb2 as health_pb
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from tests.system.conftest import Fleet, leader_of, next_leader
from tests.system.daemons import DaemonProcess, boot_s, wait_until

SERVICE = "/leaderd.v1.ElectionService/"
HEALTH = "/grpc.health.v1.Health/"
MEANT = (("x-leaderd-request", "1"),)
PATIENCE_S = 30.0

pytestmark = pytest.mark.timeout(120)


class Client:
    """A channel, and calls by path."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def ask(self, method: str, request: Any, kind: Any, metadata: Any = ()) -> Any:
        call = self._channel.unary_unary(method)
        return kind.FromString(call(request.SerializeToString(), timeout=PATIENCE_S, metadata=metadata))

    def stream(self, method: str, request: Any) -> Any:
        return self._channel.unary_stream(method)(request.SerializeToString())

    def get(self) -> Any:
        return self.ask(f"{SERVICE}GetElection", pb.GetElectionRequest(promise=Duration()), pb.GetElectionResponse).election


@contextmanager
def client_of(daemon: DaemonProcess) -> Iterator[Client]:
    with grpc.insecure_channel(f"unix:{daemon.folder}/grpc.sock") as channel:
        yield Client(channel)


def leaders(client: Client) -> list[str]:
    """Who led, as the store's history has it, the last one first."""
    terms = client.ask(f"{SERVICE}GetHistory", pb.GetHistoryRequest(), pb.GetHistoryResponse).terms
    return [term.leader for term in terms]


def resigning(daemon: DaemonProcess) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "leaderd", "resign", "jobs", "-o", "json", "--socket", str(daemon.socket)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_from_the_question_to_the_end_of_the_term(fleet: Fleet, tmp_path: Path) -> None:
    daemons, watcher = fleet(f"local://{tmp_path}/store", count=2, ttl="10s", grpc="unix:")
    first = leader_of(daemons, watcher, 30.0)
    wait_until(lambda: len(first.get("/v1/elections/jobs")[1].get("candidates", ())) == 2, 30.0, "both stand")
    with client_of(first) as client:
        watch = client.stream(f"{SERVICE}WatchElection", pb.WatchElectionRequest(promise=Duration()))
        health = client.stream(f"{HEALTH}Watch", health_pb.HealthCheckRequest(service="leader/jobs"))
        seen = pb.WatchElectionResponse.FromString(next(watch))
        assert (seen.kind, seen.election.leader) == (pb.CHANGE_KIND_STATE, True)
        assert health_pb.HealthCheckResponse.FromString(next(health)).status == health_pb.HealthCheckResponse.SERVING
        assert (client.get().name, client.get().token) == ("jobs", seen.election.token)
        hold = client.stream(f"{SERVICE}HoldTerm", pb.HoldTermRequest(promise=Duration(seconds=9)))
        assert pb.HoldTermResponse.FromString(next(hold)).phase == pb.HOLD_PHASE_HELD

        done = resigning(first)
        while (ending := pb.HoldTermResponse.FromString(next(hold))).phase != pb.HOLD_PHASE_ENDING:
            assert ending.phase == pb.HOLD_PHASE_EXTENDED
        assert health_pb.HealthCheckResponse.FromString(next(health)).status == health_pb.HealthCheckResponse.NOT_SERVING
        while pb.WatchElectionResponse.FromString(next(watch)).kind != pb.CHANGE_KIND_LOST:
            pass
        assert not client.get().leader
        hold.cancel()  # the work is done: nobody has to wait for the rest of the promise
        answer = json.loads(done.communicate(timeout=PATIENCE_S)[0])
        assert answer["released"]
        assert boot_s() < ending.valid_until_boottime_ns / 1e9

        second = next_leader(daemons, watcher, first, 30.0)
        with client_of(second) as other:
            gone = other.ask(f"{SERVICE}Resign", pb.ResignRequest(cooldown=Duration(seconds=30)), pb.ResignResponse, MEANT)
        assert gone.released
        assert gone.token > seen.election.token
        wait_until(lambda: leaders(client)[:3] == [first.name, second.name, first.name], 30.0, "three terms")
    watcher.check()


def flood(daemon: DaemonProcess, stack: ExitStack) -> None:
    """More idle connections of our user than it may have; each is taken in before the next comes."""
    for _ in range(135):
        idle = stack.enter_context(socket.socket(socket.AF_UNIX))
        idle.connect(f"{daemon.folder}/grpc.sock")
    wait_until(lambda: daemon.get("/livez")[0] == 200, 5.0, "the daemon has taken them in")


HOLDER = """
import sys, grpc
from google.protobuf.duration_pb2 import Duration
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
channel = grpc.insecure_channel("unix:" + sys.argv[1])
request = pb.HoldTermRequest(promise=Duration(seconds=4), fixed=True)
for data in channel.unary_stream("/leaderd.v1.ElectionService/HoldTerm")(request.SerializeToString()):
    print(pb.HoldTermResponse.FromString(data).valid_until_boottime_ns, flush=True)
"""


@pytest.mark.parametrize("how", ["flood", "killed"])
def test_a_promise_is_kept_whatever_becomes_of_its_connection(fleet: Fleet, tmp_path: Path, how: str) -> None:
    daemons, watcher = fleet(f"local://{tmp_path}/store", count=2, ttl="8s", grpc="unix:")
    first = leader_of(daemons, watcher, 30.0)
    wait_until(lambda: len(first.get("/v1/elections/jobs")[1].get("candidates", ())) == 2, 30.0, "both stand")
    with (
        subprocess.Popen([sys.executable, "-c", HOLDER, f"{first.folder}/grpc.sock"], stdout=subprocess.PIPE, text=True) as holder,
        ExitStack() as stack,
    ):
        try:
            assert holder.stdout is not None
            until_s = int(holder.stdout.readline()) / 1e9
            if how == "flood":
                flood(first, stack)
                assert holder.poll() is None
            else:
                holder.kill()
                holder.wait()
            answer = json.loads(resigning(first).communicate(timeout=PATIENCE_S)[0])
            assert answer["released"]
            assert boot_s() >= until_s, "the store was free while somebody had been promised otherwise"
            next_leader(daemons, watcher, first, 30.0)
            assert min(claim.from_s for claim in watcher.claims if claim.instance != first.name) >= until_s
        finally:
            holder.kill()
    watcher.check()


def test_its_code_is_loaded_only_when_it_is_on(fleet: Fleet, tmp_path: Path) -> None:
    (without,), _ = fleet(f"local://{tmp_path}/store", count=1)
    (having,), _ = fleet(f"local://{tmp_path}/store", count=1, grpc="127.0.0.1:0")
    for daemon in (without, having):
        wait_until(lambda daemon=daemon: daemon.get("/startupz")[0] == 200, 30.0, "it is up")
    maps = {daemon.name: Path(f"/proc/{daemon.pid}/maps").read_text() for daemon in (without, having)}
    loaded = {name: [word for word in ("cygrpc", "protobuf", "_upb") if word in text] for name, text in maps.items()}
    assert loaded[without.name] == []
    assert "cygrpc" in loaded[having.name]
    assert having.says("starting")["listening"]["grpc"].startswith("127.0.0.1:")
