"""A stream of the daemon's events (Server-Sent Events) over its Unix socket, read by one thread."""

from __future__ import annotations

import json
import socket
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import Any

from leaderd.client.errors import DaemonUnreachable, NotLeader
from leaderd.client.wire import MAX_BYTES, TIMEOUT_S, complaint, parsed

Event = tuple[str, dict[str, Any]]


class Line:
    """An open stream. Raises `NotLeader` for the daemon's no, and `DaemonUnreachable`."""

    def __init__(self, path: str, target: str, timeout_s: float = TIMEOUT_S) -> None:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/event-stream\r\n\r\n"
        self._data = b""
        self._shift_ns: int | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(path)
            self._asked_ns = clock_gettime_ns(CLOCK_BOOTTIME)
            self._socket.sendall(request.encode("ascii"))
            while b"\r\n\r\n" not in self._data:
                self._receive()
            self._begin(path)
        except OSError as error:
            self._socket.close()
            raise complaint(error, path, timeout_s) from None
        except BaseException:
            self._socket.close()
            raise

    def next(self, timeout_s: float) -> Event | None:
        """The next event: its kind and its datum; None when none has come for so long. Raises `OSError` when the stream is over."""
        while b"\n\n" not in self._data:
            self._socket.settimeout(max(0.001, timeout_s))
            try:
                self._receive()
            except TimeoutError:
                return None
        block, _, self._data = self._data.partition(b"\n\n")
        fields = dict(line.partition(": ")[::2] for line in block.decode("utf-8", "replace").split("\n"))
        try:
            body = json.loads(fields.get("data", "{}"))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ConnectionError("the stream is not that of a leaderd")
        return fields.get("event", ""), body

    def until_ns(self, body: dict[str, Any], lease: bool = False) -> int:
        """Until when a yes of this stream holds, on our clock; `lease`: until when the lease does, which only informs.

        The daemon may live in another time namespace. How far its clock is ahead of ours, the first answer shows, dated from before
        the question; whatever comes later on the stream, however late we read it, is dated by that. Raises `ConnectionError`.
        """
        try:
            until_ns = int(body["valid_until_boottime_ns"])
            answered_ns = until_ns - int(body["valid_for_ms"]) * 1_000_000
            if lease:
                until_ns = answered_ns + (int(body["lease_remaining_ms"]) - 1) * 1_000_000
        except (KeyError, TypeError, ValueError):
            raise ConnectionError("the stream is not that of a leaderd") from None
        if self._shift_ns is None:
            # Safety: see test_a_hold_is_dated_from_before_the_question
            self._shift_ns = self._asked_ns - answered_ns
        return until_ns + self._shift_ns

    def fileno(self) -> int:
        """The descriptor, for poll: readable when `next` may have something."""
        return self._socket.fileno()

    def shutdown(self) -> None:
        """End it, from any thread: the daemon hears at once, forked children with a copy of the descriptor or not."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # over already

    def close(self) -> None:
        """End it, and free the descriptor."""
        self.shutdown()
        self._socket.close()

    def leave(self) -> None:
        """Free the descriptor; the stream ends when no forked process has a copy of it any more."""
        self._socket.close()

    def _begin(self, path: str) -> None:
        head, _, rest = self._data.partition(b"\r\n\r\n")
        if b" 200 " in head.split(b"\r\n", 1)[0] + b" " and b"text/event-stream" in head:
            self._data = rest
            return
        while True:
            try:
                self._receive()
            except ConnectionError:
                break
        status, body = parsed(self._data, path)
        if status == 503 and "reason" in body:
            raise NotLeader(f"not the leader of {body.get('election')}: {body['reason']}", str(body["reason"]))
        raise DaemonUnreachable(f"the daemon at {path} says: {body.get('detail') or body.get('title') or status}")

    def _receive(self) -> None:
        if len(self._data) > MAX_BYTES:
            raise ConnectionError("the stream is not that of a leaderd")
        more = self._socket.recv(65536)
        if not more:
            raise ConnectionError("the stream is over")
        self._data += more
