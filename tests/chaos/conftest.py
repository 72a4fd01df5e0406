"""A process that can be broken, for the faults of processes."""

import pytest

from testbed.process import Process


@pytest.fixture
def sleeper(tmp_path):
    """It does nothing, for a minute."""
    process = Process(["sleep", "60"], tmp_path / "log")
    process.start()
    yield process
    process.kill()
