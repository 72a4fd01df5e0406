"""Makes the files of pins: `python -m tools.pins` after a change of what is asked for, `--upgrade` for the newest of everything.

Whatever else is given goes to uv as well (`--upgrade-package grpcio`). Each pin has the hashes of all files of its release, so that
one file serves every platform and every Python from 3.11 on. No file names an index: that is the business of who installs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT = "requirements-dev.txt"
FILES: dict[str, list[str]] = {
    DEVELOPMENT: ["pyproject.toml", "--extra", "dev"],
    "requirements.txt": ["pyproject.toml", "--extra", "all"],
    "deploy/requirements-lean.txt": ["pyproject.toml", "--extra", "zookeeper"],
    "deploy/requirements-full.txt": ["pyproject.toml", "--extra", "zookeeper", "--extra", "etcd", "--extra", "grpc"],
    "tests/deploy/requirements.txt": ["tests/deploy/requirements.in"],
}
"""By name: what uv makes it of. The first is made first, and others take its versions: what is tested is what is installed."""
APART = ("tests/deploy/requirements.txt",)
"""Those that are installed in an environment of their own, and need not agree with the first."""
_HOW = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--quiet",
)


def main(arguments: Sequence[str]) -> int:
    """Make them all; 0, or the exit code of uv, which has said why."""
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}  # the certificates that pip trusts, too
    for name, made_of in FILES.items():
        same = [] if name in (DEVELOPMENT, *APART) else [f"--constraints={DEVELOPMENT}"]
        words = [sys.executable, "-m", "uv", "pip", "compile", *_HOW, *same, *arguments, *made_of, f"--output-file={name}"]
        code = subprocess.run(words, cwd=ROOT, env=environment).returncode
        if code != 0:
            return code
        sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
