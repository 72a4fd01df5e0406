"""The gRPC surface over a board and a clock set by hand, and clients that know no generated stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio

from leaderd.actions import Actions
from leaderd.board import Board
from leaderd.election.state import Snapshot
from leaderd.election.timing import RULES, Timing
from leaderd.metrics import Metrics
from leaderd.surfaces.grpc import GrpcSurface, GrpcTls
from leaderd.surfaces.grpc._proto import leaderd_health_subset_pb2 as health_pb
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.http import UnixAddress
from leaderd.surfaces.view import StoreFacts, View
from tests.surfaces.fake_actions import FakeActions
from tests.surfaces.rig import PATIENCE_S, CountingLedger, HandClock

SERVICE = "/leaderd.v1.ElectionService/"
HEALTH = "/grpc.health.v1.Health/"
MEANT = (("x-leaderd-request", "1"),)
CHANGES = {
    "Resign": pb.ResignRequest(),
    "Transfer": pb.TransferRequest(to="pod-b"),
    "SetCandidacy": pb.SetCandidacyRequest(),
    "SetPaused": pb.SetPausedRequest(paused=True),
}


class GrpcRig:
    """A surface, what is behind it, and a channel to it."""

    def __init__(self, directory: Path, start: Snapshot) -> None:
        self.directory = directory
        self.clock = HandClock()
        self.ledgers = {name: CountingLedger() for name in start.elections}
        self.board = Board(start, dict(self.ledgers), promise_s=1.0)
        self.metrics = Metrics(self.board, self.clock)
        self.view = View(self.board, self.clock, StoreFacts("etcd", RULES["etcd"], lambda: None), Timing(), "f00d", "uid-1")
        self.actions = FakeActions()
        self.channel: grpc.aio.Channel

    async def open(
        self,
        address: UnixAddress | tuple[str, int] | None = None,
        tls: GrpcTls | None = None,
        operators: tuple[int, ...] = (),
    ) -> None:
        self.surface = GrpcSurface(
            self.view,
            self.clock,
            self.metrics,
            address=address or UnixAddress(self.directory / "run" / "grpc.sock"),
            tls=tls,
            actions=cast(Actions, self.actions),
            operators=operators,
            directory=self.directory,
        )
        await self.surface.start()
        self.channel = grpc.aio.insecure_channel(self.target)

    @property
    def target(self) -> str:
        found = self.surface.address
        return f"unix:{found}" if isinstance(found, str) else f"{found[0]}:{found[1]}"

    async def close(self) -> None:
        await self.channel.close()
        await self.surface.stop()

    async def call(self, method: str, request: Any, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The answer's bytes; no generated code but the messages'."""
        return await self.channel.unary_unary(method)(request.SerializeToString(), metadata=metadata, timeout=PATIENCE_S)

    async def get(self, **fields: Any) -> pb.GetElectionResponse:
        return pb.GetElectionResponse.FromString(await self.call(f"{SERVICE}GetElection", pb.GetElectionRequest(**fields)))

    def watch(self, **fields: Any) -> Stream:
        return self.stream(f"{SERVICE}WatchElection", pb.WatchElectionRequest(**fields), pb.WatchElectionResponse)

    def hold(self, **fields: Any) -> Stream:
        return self.stream(f"{SERVICE}HoldTerm", pb.HoldTermRequest(**fields), pb.HoldTermResponse)

    def health(self, service: str) -> Stream:
        return self.stream(f"{HEALTH}Watch", health_pb.HealthCheckRequest(service=service), health_pb.HealthCheckResponse)

    async def check(self, service: str) -> int:
        reply = await self.call(f"{HEALTH}Check", health_pb.HealthCheckRequest(service=service))
        return health_pb.HealthCheckResponse.FromString(reply).status

    def stream(self, method: str, request: Any, kind: Any) -> Stream:
        return Stream(self.channel.unary_stream(method)(request.SerializeToString()), kind)

    async def no_streams_left(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.surface.streams:
                await asyncio.sleep(0)

    def promised(self, name: str = "daily-report") -> list[float]:
        return self.ledgers[name].entered


class Stream:
    """One call that streams."""

    def __init__(self, call: Any, kind: Any) -> None:
        self.call = call
        self.kind = kind

    async def next(self) -> Any:
        """The next message; None when the stream is over."""
        async with asyncio.timeout(PATIENCE_S):
            data = await self.call.read()
        return None if data is grpc.aio.EOF else self.kind.FromString(data)

    async def code(self) -> grpc.StatusCode:
        async with asyncio.timeout(PATIENCE_S):
            return await self.call.code()


@asynccontextmanager
async def grpc_surface(directory: Path, start: Snapshot, **options: Any) -> AsyncIterator[GrpcRig]:
    """A rig that listens, and is taken down at the end."""
    rig = GrpcRig(directory, start)
    await rig.open(**options)
    try:
        yield rig
    finally:
        await rig.close()


async def refusal(awaitable: Any) -> tuple[grpc.StatusCode, str]:
    """The status and the text with which a call is refused."""
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError("not refused")
