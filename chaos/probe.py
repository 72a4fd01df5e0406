"""Asks one instance again and again over its Unix socket, which crosses no faulted network, and writes every answer down.

Each yes is asked for as an app would, with a promise: a claim reaches from the instant the answer was received to the end of
its promise.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from chaos.history import Recorder, now_ns
from chaos.workload import life

EVERY_S = 0.01
_TIMEOUT_S = 0.5
_TAKEN_FOR_NS = 50_000_000


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path
        self.life: str | None = None
        """Of whoever answers."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))
        self.life = life.behind(self.sock)


class Probe:
    """One instance under observation. `latest` is the last yes: its token and until when it was promised (boot ns).

    `elsewhere`: its clock may be another machine's, so that a promise is counted from when we asked, by how long it is.
    `true_ns`: when it is what its clock shows, where that is not as this machine's.
    """

    def __init__(
        self,
        instance: str,
        path: Path,
        election: str,
        promise: str,
        recorder: Recorder,
        every_s: float = EVERY_S,
        *,
        elsewhere: bool = False,
        true_ns: Callable[[int], int] | None = None,
    ) -> None:
        self.instance = instance
        self.latest: tuple[int, int] | None = None
        self.heard_ns = now_ns()
        """When it answered last."""
        self.state: str | None = None
        self._every_s = every_s
        self._elsewhere = elsewhere
        self._true_ns = true_ns
        self._path = path
        self._target = f"/is-leader/{election}?promise={promise}"
        self._recorder = recorder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe {instance}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def leads(self) -> bool:
        """Whether the last yes still holds."""
        latest = self.latest
        return latest is not None and now_ns() < latest[1]

    def _run(self) -> None:
        connection = _Unix(self._path)
        silent = False
        while not self._stop.wait(self._every_s):
            asked_ns = now_ns()
            try:
                connection.request("GET", self._target)
                reply = connection.getresponse()
                answer = json.loads(reply.read())
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection.close()
                if not silent:
                    self._recorder.note("poll", asked_ns, instance=self.instance, silent=str(error) or type(error).__name__)
                silent = True
                continue
            silent = False
            self.heard_ns = got_ns = now_ns()
            self.state = answer.get("state")
            facts = {"instance": self.instance, "got_ns": got_ns, "leader": reply.status == 200}
            if connection.life is not None and not self._elsewhere:
                facts["life"] = connection.life
            if reply.status == 200:
                # Who promises nothing has claimed the instant of its answer only; we take it for leading until the next one.
                until_ns = answer.get("valid_until_boottime_ns", asked_ns)
                if self._elsewhere:  # of another clock: it ends between the two, for what is left is as of its answer, in whole ms
                    until_ns = asked_ns + int(answer["valid_for_ms"]) * 1_000_000
                    facts["until_most_ns"] = until_ns + got_ns - asked_ns + 1_000_000
                elif self._true_ns is not None:
                    until_ns = self._true_ns(until_ns)
                facts |= {"token": answer["token"], "until_ns": until_ns}
                self.latest = (answer["token"], max(until_ns, got_ns + _TAKEN_FOR_NS))
            self._recorder.note("poll", asked_ns, state=self.state, **facts)
        connection.close()
