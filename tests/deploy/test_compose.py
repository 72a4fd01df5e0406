"""The compose file: read by Compose itself; and, where it is up (`up --wait`), one leader, who is killed and replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed import wait_until
from tests.deploy import tools

FILE = Path(__file__).parents[2] / "deploy" / "compose" / "docker-compose.etcd.yml"


def test_compose_accepts_it() -> None:
    said = json.loads(tools.run("docker-compose", "-f", str(FILE), "config", "--format", "json"))
    daemons = [service for name, service in said["services"].items() if name.startswith("leaderd-")]
    assert len(daemons) == 3
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in daemons)


def leads(container: str) -> bool:
    words = ["docker", "exec", container, "python3", "-m", "leaderd", "is-leader", "-q"]
    return subprocess.run(words, capture_output=True, timeout=30).returncode == 0


def test_a_killed_leader_is_replaced() -> None:
    names = [f"leaderd-etcd-leaderd-{letter}-1" for letter in "abc"]
    up = (
        shutil.which("docker")
        and subprocess.run(["docker", "inspect", *names], capture_output=True, env=os.environ).returncode == 0
    )
    if not up:
        pytest.skip("NO ENGINE: no Docker engine where docker-compose.etcd.yml is up")
    first = wait_until(lambda: [name for name in names if leads(name)], 20, "somebody leads")
    assert len(first) == 1
    subprocess.run(["docker", "kill", "-s", "KILL", *first], check=True, capture_output=True, timeout=30)
    others = [name for name in names if name not in first]
    second = wait_until(lambda: [name for name in others if leads(name)], 25, "another one leads")
    assert len(second) == 1
    subprocess.run(["docker", "start", *first], check=True, capture_output=True, timeout=30)
