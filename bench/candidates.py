"""Candidates as processes, ours and our peers', all observed in one way: a line on a pipe says "I lead now"."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_KAZOO = """
import signal, sys, threading
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
import time
time.sleep(0.05)
zk.stop()
"""


class Candidate:
    """One process; `led_at_s` is when the line that tells of its leadership was read (CLOCK_MONOTONIC)."""

    def __init__(self, command: list[str], is_leading: Callable[[bytes], bool], env: dict[str, str] | None = None) -> None:
        self.led = threading.Event()
        self.led_at_s = 0.0
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, bufsize=0
        )
        self._is_leading = is_leading
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if self._is_leading(line) and not self.led.is_set():
                self.led_at_s = time.monotonic()
                self.led.set()

    def wait_led(self, within_s: float) -> None:
        """Wait until it leads."""
        if not self.led.wait(within_s):
            raise TimeoutError(f"nobody led within {within_s:g} s: {self.process.args}")

    def end(self) -> None:
        """Gone, whatever it takes."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._reader.join(2.0)
        if self.process.stdout is not None:
            self.process.stdout.close()


def leaderd(store_url: str, name: str, folder: Path, ttl: str, elections: int = 1, listen: bool = False) -> Candidate:
    """One of our daemons; with `listen` on free ports too."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEADERD_")}
    env["LEADERD_RUNTIME_DIR"] = str(folder / name)
    command = [sys.executable, "-m", "leaderd", "run", "--store", store_url, "--instance", name, "--ttl", ttl]
    command += ["--socket", str(folder / f"{name}.sock"), "--log-format", "text"]
    command += ["--http", "127.0.0.1:0" if listen else "off", "--ops", "127.0.0.1:0" if listen else "off"]
    for number in range(elections):
        command += ["--election", f"jobs-{number}"]
    return Candidate(command, lambda line: b"-> leader" in line, env)


def etcdctl_lock(program: str, endpoints: list[str]) -> Candidate:
    """`etcdctl lock`: prints its key when it holds the lock; SIGTERM releases it."""
    env = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
    return Candidate([program, f"--endpoints={','.join(endpoints)}", "lock", "peer/jobs"], lambda line: b"peer/jobs" in line, env)


def kazoo_election(hosts: str) -> Candidate:
    """kazoo's `Election`."""
    return Candidate([sys.executable, "-c", _KAZOO, hosts], lambda line: b"leading" in line)


def consul_lock(program: str, address: str) -> Candidate:
    """`consul lock` with a child that says so."""
    child = ["sh", "-c", "echo leading; exec sleep 600"]
    command = [program, "lock", f"-http-addr=http://{address}", "-shell=false", "peer/jobs", *child]
    return Candidate(command, lambda line: line.strip() == b"leading", {"PATH": "/usr/bin:/bin"})
