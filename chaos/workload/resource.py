"""Two resources that the apps write to, over Unix sockets: one compares fencing tokens, the other takes whatever comes.

The order in which they take writes is the truth; each take or refusal is one line of the history.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

from chaos.history import Recorder

_LINE_BYTES = 4096


class Resource:
    """Takes writes `{"app", "token", "slot"}`, one JSON line each, and answers `ok` or `stale`."""

    def __init__(self, name: str, path: Path, fenced: bool, recorder: Recorder) -> None:
        self.name = name
        self._fenced = fenced
        self._recorder = recorder
        self._highest = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, name=f"resource {name}", daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Whoever wrote may be gone before it is answered; what it wrote is taken all the same.
        with suppress(ConnectionError), connection, connection.makefile("rwb") as stream:
            while line := stream.readline(_LINE_BYTES):
                write = json.loads(line)
                stream.write(b"ok\n" if self._take(write) else b"stale\n")
                stream.flush()

    def _take(self, write: dict[str, object]) -> bool:
        token = int(str(write["token"]))
        with self._lock:  # the line is written inside: the order of the lines is the order of the takes
            accepted = not self._fenced or token >= self._highest
            self._highest = max(self._highest, token)
            self._recorder.note("write", resource=self.name, accepted=accepted, app=write["app"], token=token, slot=write["slot"])
        return accepted
