"""A flood of clients costs clients: with all file descriptors taken that it gives them, the daemon goes on leading."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from leaderd.surfaces.http.places import LIMITS
from testbed import EtcdCluster, require
from tests.system.daemons import DaemonProcess, wait_until

pytestmark = pytest.mark.timeout(180)
FILES = 1024


class Flood:
    """Connections to one address that ask for a stream, or for nothing, and stay."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self.sockets: list[socket.socket] = []

    def connect(self, count: int, request: str = "") -> list[bytes]:
        """`count` more; the beginning of what each was answered, as far as it came within 15 s."""
        heads: dict[socket.socket, bytes] = {}
        with selectors.DefaultSelector() as ready:
            for _ in range(count):
                sock = socket.create_connection(self._address, timeout=10.0)
                self.sockets.append(sock)
                if request:
                    heads[sock] = b""
                    sock.sendall(f"GET {request} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    ready.register(sock, selectors.EVENT_READ)
            end_s = time.monotonic() + 15.0
            while ready.get_map() and time.monotonic() < end_s:
                for key, _ in ready.select(0.5):
                    sock = cast(socket.socket, key.fileobj)
                    try:
                        data = sock.recv(65536)
                    except ConnectionError:
                        data = b""
                    heads[sock] += data
                    if not data or b"\r\n\r\n" in heads[sock]:
                        ready.unregister(sock)
        return list(heads.values())

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def floods() -> Iterator[list[Flood]]:
    made: list[Flood] = []
    yield made
    for flood in made:
        flood.close()


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[DaemonProcess]]:
    made: list[DaemonProcess] = []
    yield made
    for daemon in made:
        daemon.end()


def started(daemons: list[DaemonProcess], url: str, root: Path, files: str) -> DaemonProcess:
    daemon = DaemonProcess(
        "pod-a", url, root, http="127.0.0.1:0", ops="127.0.0.1:0", ttl="3s", before=("prlimit", f"--nofile={files}", "--")
    ).start()
    daemons.append(daemon)
    wait_until(daemon.leads, 15.0, "it leads")
    return daemon


def statuses(heads: list[bytes]) -> list[bytes]:
    return [head.split(b" ", 2)[1] for head in heads if head]


def written(daemon: DaemonProcess) -> int:
    return (daemon.folder / "jobs.json").stat().st_mtime_ns


@pytest.mark.servers
@pytest.mark.xdist_group("etcd")
def test_a_flood_on_every_listener(daemons: list[DaemonProcess], floods: list[Flood], tmp_path: Path) -> None:
    require("etcd", "3.5")
    with EtcdCluster(nodes=1, version="3.5") as cluster:
        daemon = started(daemons, cluster.url("flood"), tmp_path, f"{FILES}:{FILES}")
        token = daemon.get("/is-leader?promise=0")[1]["token"]
        app, ops = Flood(daemon.url()), Flood(daemon.url("ops"))
        floods += [app, ops]
        answers = app.connect(FILES, "/v1/events?promise=0") + ops.connect(300, "/v1/events")
        got = statuses(answers)
        print({each: got.count(each) for each in set(got)}, len(answers))
        assert 400 <= got.count(b"200") < FILES
        assert got.count(b"503") > 100
        refused = next(head for head in answers if b" 503 " in head)
        assert b"application/problem+json" in refused
        assert b"Retry-After: " in refused
        for flood in (app, ops):
            flood.connect(400)
        assert len(os.listdir(f"/proc/{daemon.pid}/fd")) < FILES - 64
        for _ in range(50):
            assert daemon.get("/is-leader?promise=0")[0] == 200
        before = written(daemon)
        wait_until(lambda: written(daemon) > before, 5.0, "the state file is written as ever")
        assert daemon.get("/is-leader?promise=0")[1]["token"] == token, "the flood cost a term"
        # A new connection to the store can be had, too.
        cluster.kill(0)
        wait_until(lambda: not daemon.leads(), 10.0, "the lease runs out")
        cluster.restart(0)
        wait_until(daemon.leads, 30.0, "it leads again")
        assert daemon.get("/is-leader?promise=0")[1]["token"] > token


def test_a_thousand_subscribers_of_the_app_and_few_from_elsewhere(
    daemons: list[DaemonProcess], floods: list[Flood], tmp_path: Path
) -> None:
    daemon = started(daemons, f"local://{tmp_path}/store", tmp_path, "256:4096")
    ops, app = Flood(daemon.url("ops")), Flood(daemon.url())
    floods += [ops, app]
    few = statuses(ops.connect(LIMITS["events"].ops + 40, "/v1/events"))
    assert (few.count(b"200"), few.count(b"503")) == (LIMITS["events"].ops, 40)
    assert statuses(app.connect(1000, "/v1/events?promise=0")).count(b"200") == 1000
    assert daemon.leads()
