"""The client by itself: what it imports, and how it answers without a daemon."""

from __future__ import annotations

import subprocess
import sys

import pytest

from leaderd.client import DaemonUnreachable, Leader, NotLeader

GUARD = """
import sys
before = set(sys.modules)
import leaderd.client
new = {name for name in sys.modules if name not in before}
foreign = {n for n in new if n.startswith("leaderd.") and not n.startswith("leaderd.client")}
foreign |= {n.partition(".")[0] for n in new} - set(sys.stdlib_module_names) - {"leaderd"}
print(sorted(foreign))
"""


def test_imports_the_standard_library_only() -> None:
    done = subprocess.run([sys.executable, "-c", GUARD], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


LISTED = """
import sys
before = set(sys.modules)
import leaderd.client
print(*(set(sys.modules) - before))
"""
CHEAP = frozenset(
    """
    __future__ _collections _collections_abc _functools _operator _sre _stat _struct _typing collections contextlib copyreg enum
    errno functools genericpath itertools keyword mmap operator os posixpath re reprlib stat struct types typing warnings
    """.split()  # noqa: SIM905 - thirty names, to be read
)
"""What importing the client may bring with it. (Whether that is fast no test can say on a machine that does other things, too.)

errno: os brings it along from Python 3.13 on; it is compiled into the interpreter and costs nothing to load.
Not among it: json, socket, threading, asyncio, logging, dataclasses (which brings inspect). Each costs more than all of these
together, so it is imported when it is used."""


def test_imports_little() -> None:
    done = subprocess.run([sys.executable, "-S", "-c", LISTED], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "leaderd.client.leader" in found
    assert {name.partition(".")[0] for name in found} - {"leaderd"} <= CHEAP
    assert len([name for name in found if name.startswith("leaderd")]) <= 8


def test_pretends_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADERD_DISABLED", "leader")
    assert Leader("jobs").is_leader()
    assert Leader("jobs").require("1h").token == 1
    monkeypatch.setenv("LEADERD_DISABLED", "follower")
    assert not Leader("jobs").is_leader()
    with pytest.raises(NotLeader):
        Leader("jobs").require()
    monkeypatch.setenv("LEADERD_DISABLED", "yes")
    with pytest.raises(ValueError, match="leader or follower"):
        Leader("jobs")


def test_no_daemon_is_no_leader(tmp_path: object) -> None:
    leader = Leader("jobs", runtime_dir=str(tmp_path))
    assert not leader.is_leader()
    with pytest.raises(DaemonUnreachable, match="start `leaderd run`"):
        leader.require()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", "x" * 64])
def test_names_that_no_election_has(name: str) -> None:
    with pytest.raises(ValueError, match="no election name"):
        Leader(name)
