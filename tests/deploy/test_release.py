"""What is released: sdist and wheels, each extra alone in a clean environment, image recipe, workflow."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import testbed
from leaderd import __version__
from tests.deploy import tools
from tests.deploy.clean import SDIST, Clean, wheel
from tests.deploy.tree import ROOT, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHAOS = tomllib.loads((ROOT / "chaos" / "pyproject.toml").read_text())["project"]
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("release")]


def test_the_sdist_is_the_tree(built: Path) -> None:
    with tarfile.open(built / f"{SDIST}.tar.gz") as archive:
        packed = {name.removeprefix(f"{SDIST}/") for name in archive.getnames()}
    assert packed == {str(path.relative_to(ROOT)) for path in tracked()} | {"PKG-INFO"}


def test_the_wheels_hold_their_packages_and_nothing_strange(built: Path) -> None:
    packages = {"leaderd": {"leaderd"}, "leaderd_chaos": {"chaos", "testbed"}}
    held: dict[str, list[str]] = {}
    for name, folders in packages.items():
        with zipfile.ZipFile(wheel(built, name)) as archive:
            held[name] = archive.namelist()
        assert {each.split("/")[0] for each in held[name]} == {*folders, f"{name}-{__version__}.dist-info"}
        ours = {str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] in folders}
        assert {each for each in held[name] if "dist-info" not in each} == ours - {"chaos/pyproject.toml"}
    assert f"{SDIST}.dist-info/licenses/LICENSE" in held["leaderd"]


def test_one_version_everywhere() -> None:
    assert PROJECT["optional-dependencies"]["chaos"] == [f"leaderd-chaos=={__version__}"]
    assert [each for each in CHAOS["dependencies"] if each.startswith("leaderd")] == [f"leaderd[zookeeper,etcd]=={__version__}"]


EXTRAS = {
    "": "import leaderd.client, leaderd.stores.local",
    "zookeeper": "import leaderd.stores.zookeeper",
    "etcd": "import leaderd.stores.etcd",
    "grpc": "import leaderd.surfaces.grpc",
    "otel": "import leaderd.tracing",
    "chaos": "import chaos.cli, testbed, leaderd.stores.zookeeper, leaderd.stores.etcd",
    "all": "import leaderd.stores.zookeeper, leaderd.stores.etcd, leaderd.surfaces.grpc, leaderd.tracing",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_alone_is_enough(built: Path, clean: Clean, extra: str) -> None:
    clean.install("--find-links", str(built), f"leaderd[{extra}] @ file://{wheel(built, 'leaderd')}")
    clean.run("python", "-c", EXTRAS[extra])
    clean.run("leaderd", "run", "--help")
    clean.pip("check")


def test_every_extra_is_tried_and_all_is_what_a_daemon_can_use() -> None:
    assert set(EXTRAS) - {""} == set(PROJECT["optional-dependencies"]) - {"dev"}
    [everything] = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", everything)) - {"leaderd"} == set(EXTRAS) - {"", "all", "chaos"}


ASK = """
import sys
from leaderd.client import Leader
leader = Leader("jobs", runtime_dir=sys.argv[1])
sys.exit(0 if leader.is_leader() else 1)
"""


def test_the_sdist_alone_runs_a_daemon_that_an_app_can_ask(built: Path, clean: Clean, tmp_path: Path) -> None:
    clean.install(str(built / f"{SDIST}.tar.gz"))
    clean.environ["LEADERD_RUNTIME_DIR"] = str(tmp_path / "run")
    words = ["run", f"--store=local://{tmp_path}/store", "--election=jobs", "--http=off", "--ops=off"]
    with (tmp_path / "log").open("w") as log:
        daemon = subprocess.Popen([clean.bin / "leaderd", *words], stderr=log, env=clean.environ, cwd=tmp_path)
    try:
        clean.run("leaderd", "wait", "--for=leader", "--max=30s")
        clean.run("python", "-c", ASK, str(tmp_path / "run"))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0, (tmp_path / "log").read_text()
        clean.run("python", "-c", ASK, str(tmp_path / "run"), code=1)
    finally:
        daemon.kill()
        daemon.wait()


def test_the_chaos_suite_runs_where_it_is_installed(built: Path, clean: Clean, tmp_path: Path) -> None:
    testbed.require("etcd")
    cache = str(testbed.fetch.cache())
    clean.install("--find-links", str(built), f"leaderd[chaos] @ file://{wheel(built, 'leaderd')}")
    assert re.search(r"^kill-leader +\d", clean.run("leaderd-chaos", "list"), re.MULTILINE)
    # Without the variable the servers are looked for in the user's cache, and not beside the packages.
    clean.environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    said = clean.run("python", "-c", "from testbed import fetch; print(fetch.cache())")
    assert said == f"{tmp_path}/.cache/leaderd/testbed\n"
    clean.environ[testbed.fetch.CACHE_ENV] = cache
    told = dict(line.split(maxsplit=1) for line in clean.run("leaderd-chaos", "doctor").splitlines())
    assert told["proxy"].startswith("can be used")
    assert told["etcd"] == "servers are here"
    assert "in a checkout" in told["sim"]
    refused = clean.run("leaderd-chaos", "run", "kill-leader", "--substrate=sim", code=254)
    assert "in a checkout" in refused
    assert "Traceback" not in refused
    passed = clean.run("leaderd-chaos", "run", "terminate-leader", "--store=etcd", "--substrate=proxy", timeout_s=120)
    assert re.search(r"PASS +faults-bite", passed), passed


def test_the_image_recipe_is_clean() -> None:
    tools.run("hadolint", str(ROOT / "deploy" / "Dockerfile"))
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE) == [__version__]


@pytest.mark.parametrize("name", ["lean", "full"])
def test_a_bill_of_materials_can_be_made_of_the_pins(name: str) -> None:
    said = tools.run("cyclonedx-py", "requirements", "--of", "JSON", str(ROOT / "deploy" / f"requirements-{name}.txt"))
    text = (ROOT / "deploy" / f"requirements-{name}.txt").read_text()
    found = {(each["name"].lower(), each["version"]) for each in json.loads(said)["components"]}
    assert found == set(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_the_workflow_is_one() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
    assert workflows
    tools.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, workflows))


def test_actions_are_pinned_by_their_commit() -> None:
    text = "".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yaml"))
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: which release it is"


def test_the_six_words_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)) <= targets
    called = set(re.findall(r"run: make (\w+)", "".join(path.read_text() for path in (ROOT / ".github").rglob("*.yaml"))))
    assert called <= targets
