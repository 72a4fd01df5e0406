"""The distribution of the client alone: built, installed into a bare environment without a network, used."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USE = """
import sys
from leaderd.client import Leader
from leaderd.testing import FakeLeader
fake = FakeLeader()
fake.acquire()
assert fake.is_leader()
assert not Leader("jobs", runtime_dir=sys.argv[1]).is_leader()
"""


def test_wheel_of_the_client_works_in_a_bare_environment(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = f"import hatchling.build as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT / "client", check=True, capture_output=True)
    [wheel] = tmp_path.glob("leaderd_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "Requires-Dist" not in metadata
    allowed = ("leaderd/__init__.py", "leaderd/client/", "leaderd/integrations/", "leaderd/testing.py", "leaderd_client-")
    assert [name for name in names if not name.startswith(allowed)] == []
    venv.create(tmp_path / "bare", with_pip=False)
    [site] = (tmp_path / "bare").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    subprocess.run([tmp_path / "bare/bin/python", "-I", "-c", USE, str(tmp_path)], check=True, cwd=tmp_path)
