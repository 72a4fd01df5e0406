"""Unpack Debian packages of any suite into a folder, without root and without installing anything.

Each suite gets an apt state folder of its own, so the machine's package lists and dpkg status are never touched. The
mirror is the one the machine's own apt is configured with, and every suite is verified with the archive's keyring.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

MIRROR_ENV = "LEADERD_TESTBED_MIRROR"
KEYRING_ENV = "LEADERD_TESTBED_KEYRING"
_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
_TIMEOUT_S = 300


class AptError(RuntimeError):
    """apt could not give us a package; the text is what apt said."""


def missing() -> str | None:
    """Why this machine cannot unpack Debian packages, or None if it can."""
    absent = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} on this machine" if absent else None


class Suite:
    """One Debian suite seen through a private apt state folder."""

    def __init__(self, name: str, folder: Path) -> None:
        """Make the folders; `update` must follow before anything can be downloaded."""
        self.name = name
        self.folder = folder
        for sub in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        self._options = [
            f"-oDir::State={folder}",
            f"-oDir::State::Lists={folder}/lists",
            f"-oDir::State::status={folder}/status",
            f"-oDir::Cache={folder}/cache",
            f"-oDir::Etc::SourceList={folder}/sources.list",
            "-oDir::Etc::SourceParts=/dev/null",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oAPT::Update::Error-Mode=any",
        ]
        if os.geteuid() == 0:
            self._options.append("-oAPT::Sandbox::User=root")

    def update(self) -> None:
        """Read the package lists of the suite from the first of the machine's mirrors that has it."""
        problems = []
        for mirror in mirrors():
            keyring = _keyring()
            signed = f"[signed-by={keyring}] " if keyring else ""
            (self.folder / "sources.list").write_text(f"deb {signed}{mirror} {self.name} main\n", encoding="utf-8")
            try:
                _run(["apt-get", *self._options, "-qq", "update"])
            except AptError as error:
                problems.append(str(error))
            else:
                return
        raise AptError(
            f"no mirror of this machine has Debian {self.name} (set {MIRROR_ENV} to one, and {KEYRING_ENV} to its "
            f"keyring):\n" + "\n".join(problems)
        )

    def closure(self, packages: Sequence[str], without: Collection[str] = ()) -> list[str]:
        """The packages and all they depend on, but for those in `without`, whose work the machine's own files do."""
        said = _run(["apt-get", *self._options, "-s", "--no-install-recommends", "install", *packages])
        names = [line.split()[1] for line in said.splitlines() if line.startswith("Inst ")]
        return [name for name in names if name not in without]

    def unpack(self, packages: Sequence[str], target: Path) -> list[str]:
        """Download packages and unpack them under `target`; returns the file names, which tell the exact versions."""
        debs = self.folder / "debs" / target.name
        debs.mkdir(exist_ok=True)
        _run(["apt-get", *self._options, "-qq", "download", *packages], cwd=debs)
        files = sorted(debs.glob("*.deb"))
        if len(files) != len(packages):
            raise AptError(f"asked for {' '.join(packages)}, got {[file.name for file in files]}")
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            _run(["dpkg", "-x", str(file), str(target)])
        return [file.name for file in files]


def mirrors() -> list[str]:
    """The Debian mirrors this machine is configured with, most likely first. Raises `AptError` when there is none."""
    if os.environ.get(MIRROR_ENV):
        return [os.environ[MIRROR_ENV]]
    # ReleaseInfo=false: a slim image has no package lists, and lists its targets all the same
    output = _run(
        [
            "apt-get",
            "-oAPT::Get::IndexTargets::ReleaseInfo=false",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ]
    )
    found = sorted({line.strip() for line in output.splitlines() if line.strip() and "-security" not in line})
    if not found:
        raise AptError(f"apt has no package source configured (set {MIRROR_ENV} to a Debian mirror)")
    return sorted(found, key=lambda uri: not uri.rstrip("/").endswith("/debian"))


def _keyring() -> str | None:
    """The keyring that verifies every suite; None leaves the choice to apt's own trusted keys."""
    named = os.environ.get(KEYRING_ENV)
    if named:
        return named
    return next((path for path in _KEYRINGS if os.path.exists(path)), None)


def _run(argv: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired as error:
        raise AptError(f"{argv[0]} did not finish within {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise AptError((done.stderr or done.stdout).strip() or f"{argv[0]} failed with {done.returncode}")
    return done.stdout
