"""The lease file by itself: what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from leaderd.surfaces.files.lease import LeaseFile, StateFileError


def test_refuses_links_and_a_second_writer(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    (tmp_path / "a.lease").symlink_to(other)
    with pytest.raises(StateFileError, match="symbolic link"):
        LeaseFile(tmp_path / "a.lease", 0o640, None)
    os.link(other, tmp_path / "b.lease")
    with pytest.raises(StateFileError, match="plain file of its own"):
        LeaseFile(tmp_path / "b.lease", 0o640, None)
    assert other.read_bytes() == b"precious"
    first = LeaseFile(tmp_path / "c.lease", 0o640, None)
    with pytest.raises(StateFileError, match="another daemon writes"):
        LeaseFile(tmp_path / "c.lease", 0o640, None)
    first.close()
    LeaseFile(tmp_path / "c.lease", 0o640, None).close()


def test_write_cut_short_by_a_crash_is_mended_and_closing_zeroes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.lease"
    path.write_bytes(struct.pack("<4sIQQ", b"LDR1", 7, 42, 2**62).ljust(64, b"\0"))
    lease = LeaseFile(path, 0o640, None)
    sequence, token, until_ns = struct.unpack_from("<IQQ", path.read_bytes(), 4)
    assert (sequence % 2, token, until_ns) == (0, 0, 0)
    lease.write(43, 99, 5)
    assert struct.unpack_from("<QQQ", path.read_bytes(), 8) == (43, 99, 5)
    lease.close()
    assert struct.unpack_from("<QQQ", path.read_bytes(), 8) == (0, 0, 5)
