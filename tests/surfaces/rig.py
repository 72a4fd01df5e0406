"""Surfaces over a board and a clock set by hand, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leaderd.board import Board
from leaderd.clock import Instant
from leaderd.election.events import Contender
from leaderd.election.ledger import Ledger
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State, Term
from leaderd.election.timing import RULES, Timing
from leaderd.metrics import Metrics
from leaderd.surfaces.http import Health, HttpSurfaces, UnixAddress
from leaderd.surfaces.view import StoreFacts, View
from tests.surfaces.fake_actions import FakeActions

PATIENCE_S = 10.0
WALL_S = 1_795_417_200.0  # 2026-11-23T07:00:00Z
US = "pod-7d9c"


class HandClock:
    """A clock moved by hand. It starts at 100 s after boot, at 07:00:00."""

    def __init__(self) -> None:
        self.boot_s = 100.0
        self.jumps = 0

    def now_s(self) -> float:
        return self.boot_s

    def instant(self) -> Instant:
        return Instant(self.boot_s, self.jumps)

    def wall_s(self) -> float:
        return WALL_S - 100.0 + self.boot_s


class CountingLedger(Ledger):
    """Remembers every promise that was entered."""

    __slots__ = ("entered",)

    def __init__(self) -> None:
        super().__init__()
        self.entered: list[float] = []

    def promise(self, now_s: float, promise_s: float, valid_until_s: float) -> float:
        until_s = super().promise(now_s, promise_s, valid_until_s)
        self.entered.append(until_s)
        return until_s


def leading(name: str = "daily-report", **changes: Any) -> ElectionView:
    """Our term 42 from 95 s to 107.312 s after boot, with one candidate behind us."""
    values: dict[str, Any] = {
        "name": name,
        "phase": Phase.LEADING,
        "resting": State.FOLLOWER,
        "reason": Reason.LEASE_HELD,
        "term": Term(token=42, started_s=95.0, valid_until_s=107.312),
        "leader": US,
        "contenders": (Contender(US, True, 42), Contender("pod-b", False, 43)),
        "led": True,
        "index": 17,
        "terms": 1,
    }
    return ElectionView(**{**values, **changes})


def following(name: str = "daily-report", **changes: Any) -> ElectionView:
    """We wait behind pod-b."""
    values: dict[str, Any] = {
        "name": name,
        "phase": Phase.QUEUED,
        "resting": State.FOLLOWER,
        "reason": Reason.OTHER_LEADER,
        "leader": "pod-b",
        "contenders": (Contender("pod-b", False, 41), Contender(US, True, 42)),
        "led": True,
        "index": 5,
    }
    return ElectionView(**{**values, **changes})


def snapshot(*views: ElectionView, **changes: Any) -> Snapshot:
    """Connected to the store; the last renewal was sent 412 ms ago."""
    values: dict[str, Any] = {
        "instance": US,
        "elections": {view.name: view for view in views},
        "connected": True,
        "session_live": True,
        "session_ttl_s": 10.0,
        "last_confirmed_s": 100.0 - 0.412,
        "renewal_period_s": 2.0,
    }
    return Snapshot(**{**values, **changes})


@dataclass
class Reply:
    """An answer, taken apart. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> Any:
        """The body, after checking that it is a problem object."""
        assert self.headers["content-type"] == "application/problem+json"
        found = self.json
        assert found["status"] == self.status
        assert found["title"]
        assert found["detail"]
        assert "\n" not in found["detail"]
        return found


class Wire:
    """One connection, raw."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, head_only: bool = False) -> Reply:
        """The next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *fields = head.decode("ascii").split("\r\n")[:-2]
            headers = {}
            for each in fields:
                name, _, value = each.partition(": ")
                assert name.lower() not in headers
                headers[name.lower()] = value
            status = int(line.split(" ")[1])
            length = 0 if head_only else int(headers.get("content-length", "0"))
            return Reply(status, headers, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset is an end too."""
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while more := await self.reader.read(65536):
                    data += more
            except ConnectionError:
                pass
        return data

    def close(self) -> None:
        self.writer.close()


@dataclass
class Rig:
    """Surfaces that listen on free ports and a socket in a fresh directory."""

    directory: Path
    clock: HandClock = field(default_factory=HandClock)
    wires: list[Wire] = field(default_factory=list)
    health: Health = field(default_factory=lambda: Health(late_s=lambda: 0.0, limit_s=20.0))
    last_answer_s: Callable[[], float | None] = lambda: None
    actions: Any = field(default_factory=FakeActions)
    operators: tuple[int, ...] = ()

    def build(self, start: Snapshot, hosts: tuple[str, ...] = ()) -> None:
        self.ledgers = {name: CountingLedger() for name in start.elections}
        self.board = Board(start, dict(self.ledgers), promise_s=1.0)
        self.metrics = Metrics(self.board, self.clock, lambda: self.last_answer_s())
        self.store = StoreFacts("etcd", RULES["etcd"], lambda: self.last_answer_s())
        self.view = View(self.board, self.clock, self.store, Timing(), "f00d", "uid-1")
        self.surfaces = HttpSurfaces(
            self.board,
            self.clock,
            http=("127.0.0.1", 0),
            ops=("127.0.0.1", 0),
            unix=UnixAddress(self.directory / "run" / "leaderd.sock"),
            allowed_hosts=hosts,
            incarnation="f00d",
            instance_uid="uid-1",
            store=self.store,
            timing=Timing(),
            health=self.health,
            metrics=self.metrics,
            actions=self.actions,
            operators=self.operators,
        )

    async def connect(self, listener: str = "app") -> Wire:
        address = self.surfaces.addresses[listener]
        if isinstance(address, str):
            wire = Wire(*await asyncio.open_unix_connection(address))
        else:
            wire = Wire(*await asyncio.open_connection(*address))
        self.wires.append(wire)
        return wire

    async def ask(self, target: str, listener: str = "app", method: str = "GET", headers: str = "Host: localhost\r\n") -> Reply:
        """One request on a connection of its own."""
        wire = await self.connect(listener)
        wire.send(f"{method} {target} HTTP/1.1\r\n{headers}\r\n".encode())
        reply = await wire.reply(head_only=method == "HEAD")
        wire.close()
        return reply

    def promised(self, name: str = "daily-report") -> list[float]:
        return self.ledgers[name].entered


@asynccontextmanager
async def surfaces(directory: Path, start: Snapshot, hosts: tuple[str, ...] = (), **changes: Any) -> AsyncIterator[Rig]:
    """A rig that listens, and is taken down at the end."""
    rig = Rig(directory, **changes)
    rig.build(start, hosts)
    await rig.surfaces.start()
    try:
        yield rig
    finally:
        for wire in rig.wires:
            wire.close()
        await rig.surfaces.stop()
