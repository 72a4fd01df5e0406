"""A newer Python, to run tests under: the one on PATH, else Debian's as unpacked by `fetch`, with the C library it needs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from testbed import fetch

# Its own name stays in sys.executable, so that environments and child processes are made of it and not of what it calls.
_WRAPPER = """#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../..
for loader in "$root"/usr/lib*/ld-linux*.so.*; do
  libraries=$(echo "$root"/usr/lib/*-linux-gnu)
  exec "$loader" --library-path "$libraries" --argv0 "$0" "$root/usr/bin/python3.13" "$@"
done
"""


def interpreter() -> str:
    """Its path. Raises `FetchError` when it is not usable here."""
    found = fetch.installed("python")
    program = Path(found.programs["python3.13"])
    if found.origin == "PATH":
        return str(program)
    wrapper = program.with_name("python")
    if not wrapper.exists():
        with tempfile.NamedTemporaryFile("w", dir=wrapper.parent, delete=False) as made:
            made.write(_WRAPPER)
        os.chmod(made.name, 0o755)
        os.rename(made.name, wrapper)
    return str(wrapper)
