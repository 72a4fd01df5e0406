"""One compose file in a boxed engine: up as its README says it, put through its tests, its profiles run, and down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.deploy import tools
from tests.deploy.box.debian import ROOT

CHAOS_ROUNDS = 3
"""Each fault once."""
_UP = ("up", "--wait", "--wait-timeout", "180")
# To Compose an image of the classic builder looks changed the next time. Who shares the network of a container that is made anew
# would stay behind without one.
_MORE = (*_UP, "--no-recreate")
_Environment = dict[str, str]


class Broken(RuntimeError):
    """Something that was to work did not; what it said has been shown."""


def tested(environment: _Environment, *words: str) -> None:
    """Run tests, which find an engine promised. Raises `Broken` when any fails."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-rs", "--durations=8", "--durations-min=5", *words]
    if subprocess.run(pytest, env={**environment, tools.ENGINE_ENV: "1"}, cwd=ROOT).returncode != 0:
        raise Broken(f"pytest {' '.join(words)}")


@contextmanager
def up(environment: _Environment, store: str) -> Iterator[None]:
    """The project of the store, by the very command of the README, which also builds leaderd's image; gone at the end."""
    try:
        _compose(environment, store, *_UP, "--build")
        yield
    finally:
        # Without their profiles named, what they have brought up would stay, on the ports that the next one needs.
        down = _words(store, "--profile=monitoring", "--profile=chaos", "down", "-v", "-t", "3")
        subprocess.run(down, env=environment, timeout=120, capture_output=True)


def monitored(environment: _Environment, store: str) -> None:
    """The profile monitoring, but for Grafana, of which Debian has no package."""
    _compose(environment, store, "--profile=monitoring", *_MORE, "prometheus")
    tested(environment, "tests/deploy/test_compose_monitoring.py", "-k", store)


def harassed(environment: _Environment, store: str) -> None:
    """The profile chaos: each fault once, and its own verdict."""
    given = {**environment, "ROUNDS": str(CHAOS_ROUNDS)}
    _compose(given, store, "--profile=chaos", *_MORE, "chaos")
    name = f"leaderd-{store}-chaos-1"
    code = subprocess.run(["docker", "wait", name], env=given, timeout=400, capture_output=True, text=True).stdout.strip()
    subprocess.run(["docker", "logs", name], env=given, timeout=60, stderr=subprocess.STDOUT)
    if code != "0":
        raise Broken(f"the chaos container of {store} ended with {code or 'nothing'}")


def _compose(environment: _Environment, store: str, *words: str) -> None:
    done = subprocess.run(_words(store, *words), env=environment, timeout=300)
    if done.returncode != 0:
        subprocess.run(_words(store, "ps", "-a"), env=environment, timeout=60)
        subprocess.run(_words(store, "logs", "--tail=20"), env=environment, timeout=60)
        raise Broken(f"docker-compose.{store}.yml: {' '.join(words)}")


def _words(store: str, *words: str) -> list[str]:
    file = ROOT / "deploy" / "compose" / f"docker-compose.{store}.yml"
    return [tools.tool("docker-compose"), "--progress=quiet", "-f", str(file), *words]
