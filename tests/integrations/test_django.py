"""With the real Django, in a process of its own: its settings are global."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["leaderd.integrations.django"], SECRET_KEY="x")
import django
django.setup()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "leader_run", "--min-valid", "1s", *sys.argv[1:]])
"""


def run(disabled: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LEADERD_DISABLED": disabled, "LEADERD_SOCKET": "/nowhere/leaderd.sock"}
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environ, capture_output=True, text=True, timeout=30)


def test_runs_skips_and_complains() -> None:
    pytest.importorskip("django")
    leading = run("leader", "jobs", "diffsettings", "--all")
    assert leading.returncode == 0, leading.stderr
    assert "INSTALLED_APPS" in leading.stdout
    following = run("follower", "jobs", "diffsettings", "--all")
    assert (following.returncode, following.stdout) == (0, "")
    assert "skipped" in following.stderr
    silent = run("", "jobs", "diffsettings")
    assert silent.returncode == 1
    assert "no daemon at /nowhere/leaderd.sock" in silent.stderr
    assert "Traceback" not in silent.stderr
