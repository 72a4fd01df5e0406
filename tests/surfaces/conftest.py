from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.surfaces.rig import Rig, following, leading, snapshot, surfaces


@pytest.fixture
async def leader(tmp_path: Path) -> AsyncIterator[Rig]:
    """One election, led."""
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        yield rig


@pytest.fixture
async def follower(tmp_path: Path) -> AsyncIterator[Rig]:
    """One election, led by another."""
    async with surfaces(tmp_path, snapshot(following())) as rig:
        yield rig


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Rig]:
    """Two elections: `daily-report` is led, `invoices` is not."""
    async with surfaces(tmp_path, snapshot(leading(), following("invoices"))) as rig:
        yield rig
