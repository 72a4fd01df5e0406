"""`leaderd doctor` as one types it."""

from __future__ import annotations

import json
import subprocess
import sys


def doctor(url, *arguments):
    command = [sys.executable, "-m", "leaderd", "doctor", "--store", url, "--election", "jobs", "--ttl", "10s", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def checks(url, *arguments):
    code, out, err = doctor(url, "-o", "json", *arguments)
    assert err == ""
    found = json.loads(out)
    assert found["healthy"] is (code == 0)
    assert all(each["what"] and each["why"] and each["remedy"] for each in found["findings"])
    return [each["check"] for each in found["findings"]], found
