"""The keys `hooks.*`, as written in the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def check(tmp_path: Path, hooks: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "leaderd.yaml"
    path.write_text(f"store: {{url: 'local://{tmp_path}/store'}}\nelections: [{{name: jobs}}]\nhooks: {hooks}\n")
    command = [sys.executable, "-m", "leaderd", "config", "check", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_command_and_an_address(tmp_path: Path) -> None:
    done = check(tmp_path, "{on_acquire: [sh, -c, 'echo 1'], on_lose: ['http://127.0.0.1:8080/lost']}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ("{on_lose: ['http://10.0.0.1/x']}", "is not on loopback"),
        ("{on_lose: 'rm -rf x'}", "list"),
        ("{on_lost: [x]}", "on_lose"),
        ("{on_lose: ['', x]}", "hooks.on_lose"),
    ],
)
def test_what_is_refused(tmp_path: Path, hooks: str, said: str) -> None:
    done = check(tmp_path, hooks)
    assert done.returncode == 78
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
