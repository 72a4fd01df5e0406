"""What holds for every test: where temporary folders are, and who runs beside whom.

Temporary folders are made where no disk stalls (see testbed/scratch.py).

Most of the time tests wait: for a lease to run out, for a server to notice. The simulation computes. Under xdist the swarm is one
group, begun first, and the rest of the simulation another, so that one processor computes while the other serves those who wait.
Spread over all workers as it came, the simulation kept both busy for five minutes, in which nothing else ran, and both idle for
most of the other ten.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.scratch import scratch_root

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch_root()))

_SIMULATION = Path(__file__).parent / "sim"
_SWARM = _SIMULATION / "test_swarm.py"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _SIMULATION in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("swarm" if item.path == _SWARM else "simulation"))
    items.sort(key=lambda item: item.path != _SWARM)
