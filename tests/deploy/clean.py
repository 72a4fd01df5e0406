"""A clean environment to install a release into, without anything of this checkout in reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from leaderd import __version__
from testbed import lacking
from tests.deploy.tree import ROOT

SDIST = f"leaderd-{__version__}"
NO_INDEX = "Could not find a version"


def wheel(built: Path, name: str) -> Path:
    """One of the wheels that were built."""
    return built / f"{name}-{__version__}-py3-none-any.whl"


def pins(name: str) -> dict[str, str]:
    """By name: the version that one of our files of pins wants."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


class Clean:
    """A virtual environment, by default of the Python that runs the tests."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        """Make it. The pip is the one of the Python that runs the tests."""
        self.folder, self.bin = folder, folder / "bin"
        subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
        ours = ("PYTHONPATH", "VIRTUAL_ENV", "LEADERD_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def install(self, *words: str) -> None:
        """Install; what it depends on is taken in the version that we test with."""
        versions = self.folder / "versions.txt"
        versions.write_text("".join(f"{name}=={version}\n" for name, version in pins("requirements-dev.txt").items()))
        self.pip("install", "-c", str(versions), *words)

    def pip(self, *words: str) -> None:
        """Run pip on it. Without a package index the test is skipped, in CI a failure."""
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "-q", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=self.folder)
        if done.returncode != 0 and NO_INDEX in done.stderr:
            lacking("package index", done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *words: str, code: int = 0, timeout_s: float = 60) -> str:
        """What a program of it says, stdout and stderr, away from the checkout; another exit code than that fails the test."""
        done = subprocess.run(
            [str(self.bin / program), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            cwd=self.folder,
            env=self.environ,
        )
        assert done.returncode == code, done.stdout
        return done.stdout
