"""What is installed is what was tested: every file of pins is complete, hashed, names no index, and can be installed from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.clean import Clean, pins, wheel
from tests.deploy.test_release import EXTRAS, PROJECT
from tests.deploy.tree import ROOT
from tools.pins import APART, DEVELOPMENT, FILES

OPTIONAL = PROJECT["optional-dependencies"]
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("release")]


def expanded(words: list[str]) -> list[Requirement]:
    """Requirements, with the extras of our own that they name taken apart."""
    found = []
    for each in map(Requirement, words):
        found += expanded([one for extra in each.extras for one in OPTIONAL[extra]]) if each.name == "leaderd" else [each]
    return found


def asked(name: str) -> list[Requirement]:
    """What the file of pins is made of."""
    source, *extras = (each for each in FILES[name] if each != "--extra")
    text = (ROOT / source).read_text()
    if source != "pyproject.toml":
        return expanded([line.partition("  #")[0] for line in text.splitlines() if not line.startswith("#")])
    return expanded([*PROJECT["dependencies"], f"leaderd[{','.join(extras)}]"])


@pytest.mark.parametrize("name", FILES)
def test_every_pin_has_its_hashes_and_no_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        first, *hashes = entry.split("\n")
        assert re.fullmatch(r"[\w.-]+==\S+( ; .+)? \\", first), first
        assert hashes, first
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes), entry
    assert len(entries) == len(pins(name))


@pytest.mark.parametrize("name", FILES)
def test_all_that_is_asked_for_is_pinned(name: str) -> None:
    pinned = pins(name)
    for each in asked(name):
        assert each.specifier.contains(pinned[canonicalize_name(each.name)]), f"{each}: run python -m tools.pins"


@pytest.mark.parametrize("name", [name for name in FILES if name not in (DEVELOPMENT, *APART)])
def test_what_is_tested_is_what_is_installed(name: str) -> None:
    tested = pins(DEVELOPMENT)
    assert {each: version for each, version in pins(name).items() if tested.get(each, version) != version} == {}


def test_setup_and_validators_are_installed_by_hash() -> None:
    assert "--require-hashes --only-binary :all: -r requirements-dev.txt" in (ROOT / "Makefile").read_text()
    assert "--require-hashes" in (ROOT / "tests" / "deploy" / "tools.py").read_text()


def test_everything_for_a_daemon_installs_by_hash(built: Path, clean: Clean) -> None:
    clean.pip("install", "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements.txt"))
    clean.pip("install", "--no-deps", str(wheel(built, "leaderd")))
    clean.pip("check")
    clean.run("python", "-c", EXTRAS["all"])


def test_another_file_under_the_same_version_is_refused(clean: Clean, tmp_path: Path) -> None:
    [entry] = re.findall(r"^kazoo==.*(?:\n    --hash.*)+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    other = tmp_path / "other.txt"
    other.write_text(re.sub(r"sha256:[0-9a-f]{4}", "sha256:0000", entry))
    words = [sys.executable, "-m", "pip", "--python", str(clean.bin / "python"), "install", "--require-hashes", "-r", str(other)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
