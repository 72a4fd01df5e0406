"""The newer Pythons that we say we support: what a daemon needs can be installed for them, by hash, and the tests pass under them.

3.13 is Debian's, unpacked by the test bed. 3.12 is in no Debian suite: it is taken from PATH or pyenv, and where it is in neither
the test is skipped, in CI too; there the workflow's job `python` has it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import testbed
from testbed import python
from tests.deploy.clean import Clean
from tests.deploy.tree import ROOT

# The core, what is read at the start, what apps import, and the store that needs no server.
PARTS = (
    "tests/election",
    "tests/config",
    *(f"tests/client/test_{name}.py" for name in ("alone", "fake", "real_daemon")),
    *(f"tests/stores/test_local_{name}.py" for name in ("files", "recipe", "store")),
)
NEEDED = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yaml"
pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("pythons")]


def interpreter(version: str) -> str:
    if version == "3.13":
        testbed.require("python", version)
        return python.interpreter()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for program in (shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))):
        # pyenv's own python3.12 on PATH ends with an error when that version is not the chosen one.
        if program and subprocess.run([program, "-c", "import ssl, venv"], capture_output=True, timeout=30).returncode == 0:
            return program
    pytest.skip(f"NO PYTHON {version}: it is neither on PATH nor in pyenv, and no Debian suite has it")


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_a_newer_python_does(version: str, tmp_path: Path) -> None:
    other = Clean(tmp_path / "venv", interpreter(version))
    assert other.run("python", "--version").startswith(f"Python {version}.")
    other.pip("install", "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements.txt"))
    other.install(*NEEDED)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *PARTS]
    environ = {name: value for name, value in other.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([other.bin / "python", *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) > 400
    shutil.rmtree(tmp_path / "venv")


def test_the_workflow_has_every_version_do_the_same() -> None:
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["python"]
    said = [each["run"] for each in job["steps"] if "run" in each]
    assert said[-1] == f".venv/bin/python -m pytest -q {' '.join(PARTS)}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = [each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert job["strategy"]["matrix"]["version"] == supported
