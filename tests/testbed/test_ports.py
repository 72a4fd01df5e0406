"""Reserved ports are not given out twice, neither here nor to another process, and come back when released."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from testbed import ports
from testbed.ports import reserve

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def four_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine that has only four ports to give, and a lock folder of its own."""
    with reserve(4) as found:
        few = list(found.ports)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ports, "_candidates", lambda: few)
    return few


def test_no_port_twice_until_released(four_ports: list[int]) -> None:
    first, second = reserve(2), reserve(2)
    assert sorted(first.ports + second.ports) == sorted(four_ports)
    with pytest.raises(OSError, match="fewer than 1 free ports"):
        reserve(1)
    first.release()
    first.release()
    with reserve(2) as third:
        assert sorted(third.ports) == sorted(first.ports)
    second.release()


def test_another_process_sees_the_reservation(four_ports: list[int], tmp_path: Path) -> None:
    code = f"from testbed import ports; ports._candidates = lambda: {four_ports}; print(ports.reserve(2).ports)"
    with reserve(3):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert "fewer than 2 free ports" in done.stderr


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use_is_passed_over(four_ports: list[int], kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", four_ports[0]))
        with reserve(3) as found:
            assert four_ports[0] not in found.ports


def test_a_failed_reservation_keeps_nothing(four_ports: list[int]) -> None:
    with pytest.raises(OSError, match="free ports"):
        reserve(5)
    with reserve(4):
        pass
