"""What is released: wheel and sdist, each extra alone in a clean environment, pins, image recipe, workflow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderd import __version__
from tests.deploy import tools

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("release")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist, made of what git would have: no caches, no environment."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "leaderd", source / "leaderd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    code = (
        "import os,sys; os.chdir(sys.argv[1]); import hatchling.build as b; b.build_wheel(sys.argv[2]); b.build_sdist(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(source), str(out)], check=True, capture_output=True, timeout=120)
    return out


def test_wheel_and_sdist_hold_the_package_and_nothing_strange(built: Path) -> None:
    wheel, sdist = built / f"leaderd-{__version__}-py3-none-any.whl", built / f"leaderd-{__version__}.tar.gz"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"leaderd", f"leaderd-{__version__}.dist-info"}
    for name in ("leaderd/surfaces/page/status.html", f"leaderd-{__version__}.dist-info/licenses/LICENSE"):
        assert name in names
    with tarfile.open(sdist) as archive_:
        packed = archive_.getnames()
    assert f"leaderd-{__version__}/pyproject.toml" in packed
    assert not [name for name in [*names, *packed] if "__pycache__" in name or ".cache" in name]


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[Path]:
    venv.EnvBuilder(with_pip=True).create(tmp_path / "venv")
    yield tmp_path / "venv" / "bin"
    shutil.rmtree(tmp_path / "venv")


EXTRAS = {
    "": "import leaderd.client, leaderd.stores.local",
    "zookeeper": "import leaderd.stores.zookeeper",
    "etcd": "import leaderd.stores.etcd",
    "grpc": "import leaderd.surfaces.grpc",
    "otel": "import leaderd.tracing",
    "all": "import leaderd.stores.zookeeper, leaderd.stores.etcd, leaderd.surfaces.grpc, leaderd.tracing",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_alone_is_enough(built: Path, clean: Path, extra: str) -> None:
    wheel = next(built.glob("*.whl"))
    what = f"leaderd[{extra}] @ file://{wheel}" if extra else str(wheel)
    pins = str(ROOT / "requirements-dev.txt")
    done = subprocess.run([clean / "pip", "install", "-q", "-c", pins, what], capture_output=True, text=True, timeout=200)
    if done.returncode != 0 and "Could not find a version" in done.stderr:
        pytest.skip(f"NO PACKAGE INDEX: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    for words in ([clean / "python", "-c", EXTRAS[extra]], [clean / "leaderd", "run", "--help"], [clean / "pip", "check"]):
        ran = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=clean)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_all_is_every_extra() -> None:
    assert set(EXTRAS) - {""} == set(PROJECT["optional-dependencies"]) - {"dev"}


@pytest.mark.parametrize(("name", "extras"), [("lean", ["zookeeper"]), ("full", ["zookeeper", "etcd", "grpc"])])
def test_the_image_pins_by_hash_what_the_project_asks_for(name: str, extras: list[str]) -> None:
    text = (ROOT / "deploy" / f"requirements-{name}.txt").read_text()
    assert "://" not in text
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    assert len(re.findall("--hash=sha256:", text)) >= len(pinned)
    wanted = PROJECT["dependencies"] + [each for extra in extras for each in PROJECT["optional-dependencies"][extra]]
    assert {re.split(r"[<>=]", each)[0].lower() for each in wanted} <= pinned.keys()


def test_the_image_recipe_is_clean() -> None:
    tools.run("hadolint", str(ROOT / "deploy" / "Dockerfile"))
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


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


def test_the_six_words_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)) <= targets
    called = set(re.findall(r"run: make (\w+)", "".join(path.read_text() for path in (ROOT / ".github").rglob("*.yaml"))))
    assert called <= targets
