"""Candidates as processes, ours and our peers', all observed in one way: a line read from a pipe says "I lead now"."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderd.cli import daemon_client

_KAZOO = """
import signal, sys, threading, time
from kazoo.client import KazooClient
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
zk = KazooClient(hosts=sys.argv[1], timeout=10.0)
zk.start()
def lead():
    print("leading", flush=True)
    stop.wait()
threading.Thread(target=lambda: zk.Election("/peer/jobs", "x").run(lead), daemon=True).start()
stop.wait()
time.sleep(0.05)
zk.stop()
"""
_EXIT_S = 5.0
_ANSWER_S = 15.0


class Candidate:
    """One process; `led_at_s` is when the line that tells of its leadership was read (CLOCK_MONOTONIC).

    `socket` is the daemon's Unix socket, for ours.
    """

    def __init__(
        self, command: list[str], is_leading: Callable[[bytes], bool], env: dict[str, str] | None = None, socket: Path | None = None
    ) -> None:
        self.led = threading.Event()
        self.led_at_s = 0.0
        self._over = threading.Event()
        self.socket = socket
        self.lines: list[bytes] = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, bufsize=0
        )
        self._is_leading = is_leading
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not self.led.is_set() and self._is_leading(line):
                self.led_at_s = time.monotonic()
                self.led.set()
            self.lines.append(line)
        self._over.set()
        self.led.set()

    def wait_led(self, within_s: float) -> None:
        """Wait until it leads."""
        if not self.led.wait(within_s) or self.led_at_s == 0.0:
            raise self._never(f"led within {within_s:g} s")

    def wait_says(self, text: bytes, count: int, within_s: float) -> None:
        """Wait until `count` lines hold `text`."""
        end_s = time.monotonic() + within_s
        while sum(text in line for line in list(self.lines)) < count:
            if time.monotonic() > end_s or self._over.is_set():
                raise self._never(f"said {text!r} {count} times within {within_s:g} s")
            time.sleep(0.05)

    def _never(self, what: str) -> TimeoutError:
        last = b"".join(self.lines[-5:]).decode(errors="replace")
        return TimeoutError(f"{'it ended before it' if self._over.is_set() else 'it never'} {what}; its last words: {last}")

    def port(self, listener: str) -> int:
        """The TCP port of a listener (`app`, `ops`) as the greeting tells it."""
        self.wait_says(b"listening", 1, 10.0)
        text = next(line for line in self.lines if b"listening" in line).decode().replace("\\", "")
        found = re.search(rf'"{listener}": ?"127\.0\.0\.1:(\d+)"', text)
        if found is None:
            raise ValueError(f"no listener {listener} in {text}")
        return int(found.group(1))

    def call(self, method: str, target: str, body: str = "") -> tuple[int, dict[str, Any]]:
        """Ask over the Unix socket, or have something changed; status and JSON."""
        path = str(self.socket)
        if method == "GET":
            answer = daemon_client.get(path, target, _ANSWER_S)
        else:
            answer = daemon_client.change(path, method, target, body, _ANSWER_S)
        return answer.status, answer.json()

    def promise(self, election: str, promise: str) -> float:
        """Ask for a promise; for how many seconds it was given. Raises `ValueError` when the answer is no."""
        status, answer = self.call("GET", f"/is-leader/{election}?promise={promise}")
        if status != 200:
            raise ValueError(f"not leader: {answer}")
        return int(answer["valid_for_ms"]) / 1e3

    def leave(self) -> None:
        """It was told to go: give it its time, then end it."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_EXIT_S)
        self.end()

    def end(self) -> None:
        """Gone, whatever it takes. First asked: a `consul lock` that is killed holds its lock for another 45 s."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_EXIT_S)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(2.0)
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass(frozen=True)
class Extras:
    """What a daemon does besides answering on its Unix socket. `listen`: on two free TCP ports; `grpc`: on `grpc.sock` beside the
    socket; `journal`: it writes down there when it publishes a change (`bench.published`).
    """

    listen: bool = False
    grpc: bool = False
    journal: Path | None = None


PLAIN = Extras()


def leaderd(store_url: str, name: str, folder: Path, ttl: str, elections: int = 1, extras: Extras = PLAIN) -> Candidate:
    """One of our daemons."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEADERD_")}
    env["LEADERD_RUNTIME_DIR"] = str(folder / name)
    path = folder / name / "leaderd.sock"  # a directory each: the state files lie beside it
    path.parent.mkdir(exist_ok=True)
    program = ["leaderd"] if extras.journal is None else ["bench.published", str(extras.journal)]
    command = [sys.executable, "-m", *program, "run", "--store", store_url, "--instance", name, "--ttl", ttl]
    command += ["--socket", str(path), "--log-format", "text", "--grpc", "unix:" if extras.grpc else "off"]
    command += ["--http", "127.0.0.1:0" if extras.listen else "off", "--ops", "127.0.0.1:0" if extras.listen else "off"]
    for number in range(elections):
        command += ["--election", f"jobs-{number}"]
    return Candidate(command, lambda line: b"-> leader" in line, env, path)


def etcdctl_lock(program: str, endpoints: list[str]) -> Candidate:
    """`etcdctl lock` without a command: prints its key when it holds the lock; SIGTERM releases it."""
    env = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
    return Candidate([program, f"--endpoints={','.join(endpoints)}", "lock", "peer/jobs"], lambda line: b"peer/jobs" in line, env)


def kazoo_election(hosts: str) -> Candidate:
    """kazoo's `Election`, which calls a function that prints."""
    return Candidate([sys.executable, "-c", _KAZOO, hosts], lambda line: b"leading" in line)


def consul_lock(program: str, address: str) -> Candidate:
    """`consul lock`, which has no other sign of leading than the child that it starts: the smallest shell here, which says so."""
    child = ["sh", "-c", "echo leading; exec sleep 600"]
    command = [program, "lock", f"-http-addr=http://{address}", "-shell=false", "peer/jobs", *child]
    return Candidate(command, lambda line: line.strip() == b"leading", {"PATH": "/usr/bin:/bin"})
