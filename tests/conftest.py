"""What holds for every test: where temporary folders are, which signals reach what it starts, and who runs beside whom.

Temporary folders are made where no disk stalls (see testbed/scratch.py).

Most of the time tests wait: for a lease to run out, for a server to notice. The simulation computes, so it is by itself in
`make test`. Where everything goes in one, as with a plain `pytest -n 4 --dist loadgroup`, it is two groups, the largest, which are
begun first, and it gives way to everybody else (`tests/sim/conftest.py`): it has what those who wait leave.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.scratch import scratch_root

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch_root()))

_SIMULATION = Path(__file__).parent / "sim"


_PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}
"""Ignored by every Python, and given back to what it executes."""


@pytest.fixture(autouse=True, scope="session")
def nothing_ignored() -> Iterator[None]:
    """What the tests start ignores no signal, however they were started themselves: under nohup it would ignore SIGHUP, as a job
    in the background SIGINT; and neither a Python nor a shell takes up what it was told to ignore.

    A handler of ours becomes the default in a program that we execute, and leaves us as unmoved as we were.
    """
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN} - _PYTHONS_OWN
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _SIMULATION in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("simulation" if item.path.name == "test_swarm.py" else "simulation-ablated"))
            if item.get_closest_marker("timeout") is None:  # hundreds of seeds, on a processor that others may want, too
                item.add_marker(pytest.mark.timeout(300))


def pytest_collection_finish(session: pytest.Session) -> None:
    if getattr(session.config.option, "loadgroup", False):
        alone = [item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        if alone:
            raise pytest.UsageError(
                f"xdist takes {alone[0]} out of its group, as it does with pytest 9.2: install what requirements-dev.txt pins"
            )
