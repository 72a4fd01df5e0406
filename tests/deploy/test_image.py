"""The image as a container: wherever a Docker engine answers and holds `leaderd:lean` and `leaderd:full`.

They must be of this checkout, on a base without a shell: `python -m tests.deploy.box` builds them so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from leaderd import __version__
from testbed import wait_until
from tests.deploy import tools

DEPLOY = Path(__file__).parents[2] / "deploy"
# As in the Kubernetes manifests: no capability, nothing writable but the runtime directory in memory.
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--memory=128m")
LARGEST = {"lean": 50e6, "full": 70e6}
PROGRAMS = ("sh", "ash", "bash", "busybox", "dash", "zsh", "apt", "apt-get", "dpkg", "pip", "pip3")
MODULES = ("pip", "ensurepip", "setuptools")
# What the engine puts there for each container is root's, too, and no program.
SEARCH = """
import os
for top, folders, files in os.walk("/"):
    folders[:] = [each for each in folders if os.path.join(top, each) not in ("/proc", "/sys", "/dev")]
    found = [name for name in files if name in PROGRAMS] + [name for name in folders if name in MODULES]
    for name in files:
        path = os.path.join(top, name)
        if not os.path.islink(path) and (os.stat(path).st_mode & 0o6000 or os.access(path, os.W_OK)):
            found.append(name)
    print(*(os.path.join(top, name) + "\\n" for name in found), sep="", end="")
"""


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def image(target: str) -> str:
    if not shutil.which("docker") or not docker("image", "ls", "-q", f"leaderd:{target}", check=False):
        tools.no_engine(f"no Docker engine that holds leaderd:{target}; build it with deploy/Dockerfile")
    return f"leaderd:{target}"


def inspected(target: str) -> dict[str, Any]:
    return json.loads(docker("image", "inspect", image(target)))[0]


def ran(target: str, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a program of the image did in place of leaderd."""
    start = ["docker", "run", "--rm", *CONFINED, f"--entrypoint={program}", image(target), *words]
    return subprocess.run(start, capture_output=True, text=True, timeout=60)


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
def test_it_is_small_and_whole(target: str) -> None:
    facts = inspected(target)
    assert facts["Size"] < LARGEST[target]
    assert facts["Config"]["Healthcheck"]["Test"][:4] == ["CMD", "python3", "-m", "leaderd"]
    imports = {"lean": "kazoo, msgspec, yaml", "full": "kazoo, grpc, google.protobuf"}[target]
    assert ran(target, "python3", "-c", f"import leaderd.daemon, {imports}").returncode == 0
    absent = ran(target, "python3", "-c", "import grpc").stderr
    assert ("No module named 'grpc'" in absent) == (target == "lean")


@pytest.mark.parametrize("target", LARGEST)
def test_it_holds_no_pip(target: str) -> None:
    assert "No module named pip" in ran(target, "python3", "-m", "pip").stderr


@pytest.mark.parametrize("target", LARGEST)
def test_it_holds_no_shell(target: str) -> None:
    done = ran(target, "sh", "-c", "true")
    # The engine's own code and words for a program that is not on the path.
    assert done.returncode == 127, done
    assert '"sh": executable file not found' in done.stderr


@pytest.mark.parametrize("target", LARGEST)
def test_no_file_in_it_is_a_shell_a_pip_or_writable_or_set_uid(target: str) -> None:
    done = ran(target, "python3", "-c", f"PROGRAMS = {PROGRAMS}; MODULES = {MODULES}\n{SEARCH}")
    assert (done.returncode, done.stdout) == (0, ""), done


@pytest.mark.parametrize("target", LARGEST)
def test_its_labels_tell_what_it_was_built_from(target: str) -> None:
    found = inspected(target)["Config"]["Labels"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in found.items()}
    assert (labels["title"], labels["licenses"]) == ("leaderd", "Apache-2.0")
    assert ran(target, "python3", "-m", "leaderd", "--version").stdout.split()[-1] == labels["version"] == __version__
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=DEPLOY, capture_output=True, text=True, check=True).stdout.strip()
    assert labels["revision"].removesuffix("-dirty") == revision
    assert datetime.fromisoformat(labels["created"]).tzinfo is not None
    assert datetime.fromisoformat(labels["created"]).year > 2020
    # The base is here, and the image begins with its layers.
    layers = inspected(target)["RootFS"]["Layers"]
    base = json.loads(docker("image", "inspect", labels["base.name"]))[0]["RootFS"]["Layers"]
    assert layers[: len(base)] == base
    assert labels["source"] == "unknown" or labels["source"].startswith("https://")


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
