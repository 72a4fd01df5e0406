"""The validators of what is deployed, in an environment of their own: they are large, and their needs are none of ours.

`python -m tests.deploy.tools` makes it, in the git-ignored cache folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

import pytest

from testbed import fetch, lacking

ENGINE_ENV = "LEADERD_TEST_ENGINE"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def folder() -> Path:
    """Where the environment is, or would be."""
    return fetch.cache().parent / "deploy-tools"


def tool(name: str) -> str:
    """The path of a validator. Where it is not, the test is skipped, loudly; in CI that is a failure."""
    # What PyPI's package puts beside the others starts Compose, but exits with 0 whatever becomes of it.
    pattern = "lib/python3.*/site-packages/compose/docker-compose" if name == "docker-compose" else f"bin/{name}"
    path = next(folder().glob(pattern), None)
    if path is None or not _is_made():
        lacking("tool", f"{name} is not here: run python -m tests.deploy.tools")
    return str(path)


def no_engine(reason: str) -> NoReturn:
    """Skip a test that needs a Docker engine; where one was promised (`python -m tests.deploy.box`) that is a failure."""
    if os.environ.get(ENGINE_ENV):
        pytest.fail(f"{reason} (but {ENGINE_ENV} promises one)", pytrace=False)
    pytest.skip(f"NO ENGINE: {reason}")


def run(name: str, *words: str, timeout_s: float = 50, **more: str) -> str:
    """What the validator says; its refusal fails the test."""
    done = subprocess.run([tool(name), *words], capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **more})
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout


def _is_made() -> bool:
    made_of = folder() / "requirements.txt"
    return made_of.exists() and made_of.read_text() == REQUIREMENTS.read_text()


def main() -> int:
    """Make the environment anew, if it is not what the requirements say. Who else is at it waits, and finds it done."""
    folder().parent.mkdir(parents=True, exist_ok=True)
    with fetch.locked(folder().with_suffix(".lock")):
        return 0 if _is_made() else _make()


def _make() -> int:
    venv.EnvBuilder(with_pip=True, clear=True).create(folder())
    done = subprocess.run([folder() / "bin" / "pip", "install", "-q", "--require-hashes", "-r", str(REQUIREMENTS)])
    if done.returncode == 0:
        (folder() / "requirements.txt").write_text(REQUIREMENTS.read_text())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
