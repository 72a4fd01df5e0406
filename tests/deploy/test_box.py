"""The boxed engine where it cannot be: it says why, and that is its own exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.box.engine import missing

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root that is the reason already")


def box(*words: str, path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.deploy.box", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, env={**os.environ, "PATH": path})


@pytest.mark.parametrize("words", [(), ("--smoke",)])
def test_without_what_it_needs_it_says_so_and_exits_69(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = box(*words, path=str(tmp_path))
    assert done.returncode == 69
    assert "SKIPPED, NO ENGINE" in done.stderr
    assert "root" in done.stderr or "unshare is not installed" in done.stderr


def test_an_unknown_store_is_named() -> None:
    done = box("redis", path=os.environ["PATH"])
    assert done.returncode == 2
    assert "no such store: redis; there are etcd, zookeeper, consul" in done.stderr


@needs_root
@pytest.mark.parametrize("refused", ["unshare", "ip", "mount"])
def test_a_kernel_that_refuses_a_part_of_the_box_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: str) -> None:
    program = tmp_path / refused
    program.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LEADERD_TESTBED_CACHE", str(tmp_path / "cache" / "testbed"))
    assert missing() == "no box of namespaces for it can be made: Operation not permitted"
