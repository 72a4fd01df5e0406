"""Restarts: daemons that end and are started again, over and over, at other points of their life each time."""

from __future__ import annotations

import signal
import threading
import time
from typing import Annotated, Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting
from chaos.faults.kill import alive
from chaos.pods import Pod
from testbed.process import StartError, WaitTimeout

_STEPS = 5
"""The first life of a round lasts for `least_ms`, the last for `most_ms`, the others in between."""


class Restarts(msgspec.Struct, frozen=True, tag="restarts", tag_field="fault", forbid_unknown_fields=True):
    """Each daemon in role `at` is ended `times` times, by SIGKILL or SIGTERM, and started again at once.

    A life lasts from `least_ms` to `most_ms` after it was started, so that SIGTERM meets the start-up at many points. Every end has
    to come within `ends_within_s`.
    """

    at: str = "candidates"
    times: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    signal: Literal["kill", "term"] = "kill"
    least_ms: int = 50
    most_ms: int = 1500
    ends_within_s: float = 5.0

    def inject(self, bed: Bed) -> Injection:
        """Begin; `bites` waits for the last one."""
        pods = [bed.pod(host) for host in bed.who(self.at)]
        over = threading.Event()
        took_s: list[float] = []
        failed: list[str] = []

        def storm(pod: Pod, number: int) -> None:
            for turn in range(self.times):
                if over.is_set():
                    return
                if turn:
                    over.wait(self._lives_s(turn + number))
                try:
                    took_s.append(self._end(pod))
                    pod.launch()
                except (StartError, WaitTimeout, OSError, RuntimeError) as error:
                    failed.append(f"{pod.name}: {error}")
                    return

        threads = [threading.Thread(target=storm, args=pair, daemon=True) for pair in zip(pods, range(len(pods)), strict=True)]
        for thread in threads:
            thread.start()

        def bites() -> str:
            for thread in threads:
                thread.join(self.times * (self.most_ms / 1000 + self.ends_within_s))
            if failed:
                raise NotBiting("; ".join(failed))
            longest_s = max(took_s, default=0.0)
            if longest_s > self.ends_within_s:
                bed.recorder.note("missed", text=f"an end took {longest_s:.2f} s, {self.ends_within_s:g} s are allowed")
            return f"{len(took_s)} ends, the longest took {longest_s:.2f} s"

        def heal() -> None:
            over.set()
            for thread in threads:
                thread.join(self.ends_within_s + 30.0)
            for pod in pods:
                if not pod.daemon.running:
                    pod.start_daemon()

        names = tuple(pod.host for pod in pods)
        how = "killed" if self.signal == "kill" else "asked to go"
        text = f"daemon {' '.join(names)} {how} and started again, {self.times} times"
        return Injection(text, names, bites, heal, lambda: alive(pods))

    def _lives_s(self, turn: int) -> float:
        share = (turn % _STEPS) / (_STEPS - 1)
        return (self.least_ms + share * (self.most_ms - self.least_ms)) / 1000

    def _end(self, pod: Pod) -> float:
        began_s = time.monotonic()
        if self.signal == "kill":
            pod.kill()
        else:
            pod.signal(signal.SIGTERM)
            pod.daemon.stop(self.ends_within_s + 20.0)
            pod.note_exit()
        return time.monotonic() - began_s
