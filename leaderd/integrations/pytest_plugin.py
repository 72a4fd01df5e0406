"""`pytest_plugins = ["leaderd.integrations.pytest_plugin"]`: the fixture `fake_leader`."""

from __future__ import annotations

import pytest

from leaderd.testing import FakeLeader


@pytest.fixture
def fake_leader() -> FakeLeader:
    """A follower until the test says `acquire()`."""
    return FakeLeader()
