"""A compose project that is up: its daemons, its ledger, and what was done to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from leaderd.election.timing import Timing
from leaderd.planning import make_plan
from testbed import wait_until
from tests.deploy import tools

STORES = ("etcd", "zookeeper", "consul")
BUSY_S = 15.0
"""What a busy machine may add to anything."""


def failover_s(store: str) -> float:
    """How long it takes at most until another leads, as `leaderd plan` says of the timings that the compose files leave alone."""
    facts = {fact.name: fact.value for fact in make_plan(store, Timing(), 3, None).facts}
    return facts["failover_s"]


def missed(taken: list[dict[str, Any]], faults: list[tuple[float, float]]) -> list[int]:
    """The slots between the first job and the last that nobody ran, and that no fault explains."""
    ran = {each["slot"] for each in taken}
    # The slot that the fault has cut short, and the one that had begun when the new leader was seen.
    excused = [(int(begun), int(over) + 1) for begun, over in faults]
    missing = set(range(min(ran), max(ran))) - ran
    return sorted(slot for slot in missing if not any(first <= slot <= last for first, last in excused))


class Project:
    """The project of one store. Where it is not up, the test is skipped, or fails if it was promised."""

    def __init__(self, store: str) -> None:
        docker = pytest.importorskip("docker", reason="NO ENGINE: the docker SDK is not here")
        reason = f"no Docker engine where docker-compose.{store}.yml is up"
        # Asked first by the command: the SDK leaves a socket behind where nobody answers.
        if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True, timeout=30).returncode:
            tools.no_engine(reason)
        self.client = docker.from_env(timeout=60)
        self.name = f"leaderd-{store}"
        self.take_over_s = failover_s(store) + BUSY_S
        self.faults: list[tuple[float, float]] = []
        try:
            self.daemons = {letter: self.container(f"leaderd-{letter}") for letter in "abc"}
            self.resource = self.container("resource")
        except docker.errors.NotFound:
            self.client.close()
            tools.no_engine(reason)

    def container(self, service: str) -> Any:
        return self.client.containers.get(f"{self.name}-{service}-1")

    def leads(self, letter: str) -> bool:
        """Whether the daemon itself says so. One that does not run, or is frozen, says nothing."""
        daemon = self.daemons[letter]
        daemon.reload()
        return daemon.status == "running" and daemon.exec_run(["python3", "-m", "leaderd", "is-leader", "-q"]).exit_code == 0

    def leader(self, among: str = "abc") -> str:
        found = wait_until(lambda: [each for each in among if self.leads(each)], self.take_over_s, f"one of {among} leads", 0.2)
        assert len(found) == 1, f"two leaders: {found}"
        return found[0]

    def get(self, url: str) -> Any:
        """What a service answers, asked from within the project's network."""
        code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=5).read().decode())"
        done = self.resource.exec_run(["python3", "-c", code])
        assert done.exit_code == 0, done.output.decode()
        return json.loads(done.output)

    def ledger(self) -> list[dict[str, Any]]:
        return self.get("http://127.0.0.1:8080/ledger")

    def taken(self) -> list[dict[str, Any]]:
        return [each for each in self.ledger() if each["taken"]]

    def worked(self, letter: str) -> None:
        """Wait until its app has written after now."""
        since = len(self.ledger())
        wait_until(
            lambda: [x for x in self.ledger()[since:] if x["app"] == letter and x["taken"]], BUSY_S, f"app-{letter} works", 0.2
        )

    @contextmanager
    def leaderless(self) -> Iterator[None]:
        """A time in which slots may pass without a job: from a fault until another leads; by the wall clock, as slots are."""
        begun = time.time()
        yield
        self.faults.append((begun, time.time()))
