from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.clean import SDIST, Clean
from tests.deploy.tree import ROOT, tracked

DISTRIBUTIONS = (".", "chaos", "client")


def build(what: str, source: Path, target: Path) -> None:
    # -I: the folder itself is not on the path, for `chaos` has an operator.py.
    code = f"import sys; import hatchling.build as b; b.build_{what}(sys.argv[1])"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(target)], capture_output=True, text=True, timeout=120, cwd=source)
    assert done.returncode == 0, f"{what} of {source}: {done.stderr}"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this tree, and the wheels that were made of nothing but that sdist."""
    tree, unpacked, out = (tmp_path_factory.mktemp(name) for name in ("tree", "unpacked", "dist"))
    for path in tracked():
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    build("sdist", tree, out)
    with tarfile.open(out / f"{SDIST}.tar.gz") as archive:
        archive.extractall(unpacked, filter="data")
    for folder in DISTRIBUTIONS:
        build("wheel", unpacked / SDIST / folder, out)
    return out


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[Clean]:
    yield Clean(tmp_path / "venv")
    shutil.rmtree(tmp_path / "venv")
