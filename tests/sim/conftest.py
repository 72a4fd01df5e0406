"""The simulation gives way: it computes for minutes, beside tests that wait for something to happen in time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

_POLITE = 10


@pytest.fixture(autouse=True, scope="module")
def gives_way() -> Iterator[None]:
    """Run at a lower priority. Who may not take it back, not being root, goes on at the lower one."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(before + _POLITE, 19))
    yield
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, before)
