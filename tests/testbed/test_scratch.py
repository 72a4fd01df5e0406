"""Where temporary folders are made."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from testbed import scratch
from testbed.cluster import Cluster
from testbed.etcd import EtcdCluster


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /dev/shm, with room enough, on a machine with memory enough."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(scratch, "_MEMORY", tmp_path)
    monkeypatch.setattr(scratch, "_ROOM_BYTES", 1)
    return tmp_path


def test_memory_is_taken_where_there_is_room(memory: Path) -> None:
    assert scratch.scratch_root() == memory


def test_a_cluster_makes_its_folder_there(memory: Path) -> None:
    cluster: Cluster = EtcdCluster()
    assert cluster._make_workdir().parent == memory


def test_who_sets_tmpdir_gets_it(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/anywhere")
    assert scratch.scratch_root() == Path(tempfile.gettempdir())


@pytest.mark.parametrize("missing", ["the folder", "room", "memory"])
def test_without_room_it_is_the_folder_for_temporary_files(memory: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "the folder":
        monkeypatch.setattr(scratch, "_MEMORY", memory / "nowhere")
    elif missing == "room":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    else:
        monkeypatch.setattr(scratch, "_free_memory_bytes", lambda: 0)
    assert scratch.scratch_root() == Path(tempfile.gettempdir())
