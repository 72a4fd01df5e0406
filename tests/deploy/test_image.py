"""The image as a container: wherever a Docker engine answers and holds `leaderd:lean` and `leaderd:full`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
# As in the Kubernetes manifests: no capability, nothing writable but the runtime directory in memory.
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--memory=128m")
# A base that carries a shell of its own is bigger; what we add is the same.
LARGEST = {"lean": 50e6, "full": 70e6}


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def image(target: str) -> str:
    if not shutil.which("docker") or not docker("image", "ls", "-q", f"leaderd:{target}", check=False):
        pytest.skip(f"NO ENGINE: no Docker engine that holds leaderd:{target}; build it with deploy/Dockerfile")
    return f"leaderd:{target}"


@pytest.fixture(params=LARGEST)
def container(request: pytest.FixtureRequest) -> Iterator[str]:
    tmpfs = "--tmpfs=/run/leaderd:uid=65532,gid=65532,mode=0750"
    store = "--tmpfs=/var/lib/leaderd:uid=65532,gid=65532,mode=0700"
    command = ["run", "--store=local:///var/lib/leaderd", "--election=jobs"]
    started = docker("run", "-d", *CONFINED, tmpfs, store, "--health-interval=500ms", image(request.param), *command)
    yield started
    docker("rm", "-f", started)


def asked(container: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "exec", container, "python3", "-m", "leaderd", *words], capture_output=True, text=True, timeout=30
    )


def test_it_leads_healthy_and_confined_and_leaves_in_order(container: str) -> None:
    wait_until(lambda: asked(container, "is-leader", "-q").returncode == 0, 20, "it leads")
    wait_until(lambda: docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy", 20, "it is healthy")
    assert docker("inspect", "-f", "{{.Config.User}}", container) == "65532:65532"
    docker("stop", "-t", "10", container)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0", docker("logs", container)


@pytest.mark.parametrize("target", LARGEST)
def test_it_is_small_and_holds_no_shell_and_no_pip(target: str) -> None:
    facts = json.loads(docker("image", "inspect", image(target)))[0]
    assert facts["Size"] < LARGEST[target]
    for words in (("--entrypoint=/bin/sh", image(target), "-c", "true"), (image(target), "-m", "pip")):
        done = subprocess.run(["docker", "run", "--rm", "--network=none", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
    imports = {"lean": "kazoo, msgspec, yaml", "full": "kazoo, grpc, google.protobuf"}[target]
    docker("run", "--rm", "--network=none", "--entrypoint=python3", image(target), "-c", f"import leaderd.daemon, {imports}")


@pytest.mark.parametrize("target", LARGEST)
def test_what_the_manifests_run_in_it_is_there(target: str) -> None:
    hook = DEPLOY / "kubernetes" / "components" / "leader-label" / "pod_label.py"
    mounted = ("--rm", *CONFINED, f"--volume={hook}:/hook.py:ro", "--entrypoint=python3", image(target))
    done = subprocess.run(["docker", "run", *mounted, "/hook.py"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, ""), "the label's hook starts, and sees that this is no pod"
    done = subprocess.run(
        ["docker", "run", *mounted, "-m", "leaderd", "resign", "jobs", "--cooldown=60s", "--or-cordon"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, f"preStop's words are understood, there is only no daemon: {done.stderr}"
