"""What does not depend on the store: the clock and the ends of certificates; and the arithmetic of versions and durations."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from leaderd.doctor.common import KernelClock, check_clock, first_end, not_after, read_kernel_clock
from leaderd.doctor.consul import go_seconds
from leaderd.doctor.etcd import check_version
from leaderd.doctor.findings import CHECKS
from leaderd.doctor.zookeeper import check_version as check_zookeeper
from testbed import tls


def names(found):
    return [each.check for each in found if not each.note]


def test_the_clock():
    well = KernelClock(synchronised=True, rate=5e-5)
    assert check_clock(0.01, 0.0, well) == []
    assert names(check_clock(0.01, -3.0, well)) == ["clock-jump"]
    assert names(check_clock(0.01, 0.0, KernelClock(True, -0.05))) == ["clock-rate"]
    (note,) = check_clock(0.01, 0.0, KernelClock(False, 0.0))
    assert note.note


def test_this_kernel_says_something():
    kernel = read_kernel_clock()
    assert kernel is None or abs(kernel.rate) < 0.11


def test_the_end_of_a_certificate(tmp_path):
    files = tls.make(tmp_path)
    assert first_end(files.ca) == datetime(2049, 12, 31, tzinfo=UTC).timestamp()
    expired, _ = files.pair("expired-server")
    both = tmp_path / "both.pem"
    both.write_text(files.ca.read_text() + expired.read_text())
    assert first_end(both) == datetime(2020, 2, 1, tzinfo=UTC).timestamp()
    assert not_after(ssl.PEM_cert_to_DER_cert(files.ca.read_text())) == first_end(files.ca)
    both.write_text("nothing of the kind")
    assert first_end(both) is None


def test_versions():
    assert [len(check_version("x", v)) for v in ("3.4.23", "3.4.31", "3.4.38", "3.5.13", "3.5.23", "3.6.4", "3.6.5", "3.7.0")] == [
        *(2, 1, 0, 1, 0, 1, 0, 0)
    ]
    assert len(check_version("x", "3.3.1")) == 2
    assert check_version("x", "") == []
    assert names(check_zookeeper("x", "3.4.14")) == ["store-version"]
    assert check_zookeeper("x", "3.9.3") == check_zookeeper("x", "") == []


def test_durations_as_go_writes_them():
    assert [go_seconds(text) for text in ("15s", "1m30s", "500ms", "", "0s", "x", "1.5h")] == [15, 90, 0.5, 0, 0, 0, 5400]


def test_every_check_is_explained():
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    assert [name for name in CHECKS if f"| `{name}` |" not in page] == []
