"""A TCP proxy that counts the requests that pass: what a store gets from one daemon, seen from outside."""

from __future__ import annotations

import select
import socket
import threading
from typing import Protocol


class CountingProxy:
    """Passes everything on; `requests` counts what looks like a request in the store's own protocol.

    Consul: request lines of HTTP/1.1. ZooKeeper: frames, but for pings (xid -2). etcd: DATA frames of HTTP/2, one for each message,
    on whichever stream.
    """

    def __init__(self, store: str, host: str, port: int) -> None:
        self.requests = 0
        self._store = store
        self._target = (host, port)
        self._stopping = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Close everything."""
        self._stopping = True
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        server = socket.create_connection(self._target)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = counter(self._store)
        with client, server:
            while not self._stopping:
                ready, _, _ = select.select([client, server], [], [], 0.5)
                for sock in ready:
                    try:
                        data = sock.recv(65536)
                        if not data:
                            return
                        if sock is client:
                            self.requests += count.feed(data)
                        (server if sock is client else client).sendall(data)
                    except OSError:
                        return


class _Counter(Protocol):
    def feed(self, data: bytes) -> int:
        """How many requests `data`, the next bytes of one connection, completes."""


def counter(store: str) -> _Counter:
    """A fresh counter for one connection to that store."""
    counters: dict[str, type[_Counter]] = {"Consul": _Http, "ZooKeeper": _Frames, "etcd": _Http2}
    return counters[store]()


class _Http(_Counter):
    _MARK = b" HTTP/1.1\r\n"

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> int:
        text = self._rest + data
        found = text.count(self._MARK)
        self._rest = text[text.rfind(self._MARK) + len(self._MARK) :] if found else text
        self._rest = self._rest[1 - len(self._MARK) :]
        return found


class _Frames(_Counter):
    def __init__(self) -> None:
        self._rest = b""
        self._greeted = False

    def feed(self, data: bytes) -> int:
        self._rest += data
        found = 0
        while len(self._rest) >= 4:
            length = int.from_bytes(self._rest[:4])
            if len(self._rest) < 4 + length:
                break
            frame, self._rest = self._rest[4 : 4 + length], self._rest[4 + length :]
            ping = frame[:4] == b"\xff\xff\xff\xfe"
            found += self._greeted and not ping
            self._greeted = True
        return found


class _Http2(_Counter):
    _PREFACE = 24

    def __init__(self) -> None:
        self._rest = b""
        self._skip = self._PREFACE

    def feed(self, data: bytes) -> int:
        self._rest += data
        if self._skip:
            if len(self._rest) < self._skip:
                return 0
            self._rest, self._skip = self._rest[self._skip :], 0
        found = 0
        while len(self._rest) >= 9:
            length = int.from_bytes(self._rest[:3])
            if len(self._rest) < 9 + length:
                break
            kind = self._rest[3]
            self._rest = self._rest[9 + length :]
            if kind == 0 and length > 0:  # DATA: one message, as gRPC sends small ones
                found += 1
        return found
