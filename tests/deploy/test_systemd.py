"""The unit files by systemd's own tools, and what the daemon says to a service manager."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from leaderd.__main__ import main
from leaderd.config.keys import BY_ENV
from leaderd.notify import ServiceManager
from testbed import lacking

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        lacking("systemd", "systemd-analyze is not here")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30)


DROP_INS = [(), ("credentials.conf",), ("addresses.conf",), ("addresses.conf", "credentials.conf")]


def unit_with(folder: Path, drop_ins: tuple[str, ...]) -> Path:
    text = (UNITS / "leaderd.service").read_text().replace("/usr/bin/leaderd", "/bin/true")
    (folder / "leaderd.service.d").mkdir()
    (folder / "leaderd.service").write_text(text)
    for name in drop_ins:
        shutil.copy(UNITS / "examples" / name, folder / "leaderd.service.d")
    return folder / "leaderd.service"


@pytest.mark.parametrize("drop_ins", DROP_INS)
def test_little_is_left_exposed(tmp_path: Path, drop_ins: tuple[str, ...]) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", str(unit_with(tmp_path, drop_ins)))
    assert done.returncode == 0, done.stdout[-300:]
    found = re.search(r"Overall exposure level for leaderd.service: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found.group(1)) < 2.0
    # That the drop-ins were read.
    assert ("Service defines IP address allow list" in done.stdout) == ("addresses.conf" in drop_ins)


@pytest.mark.parametrize("drop_ins", DROP_INS)
def test_systemd_knows_every_line(tmp_path: Path, drop_ins: tuple[str, ...]) -> None:
    unit_with(tmp_path, drop_ins)
    job = (UNITS / "examples" / "nightly.service").read_text().replace("/usr/bin/leaderd", "/bin/true")
    (tmp_path / "nightly.service").write_text(job)
    # Unknown keys do not change its exit code: silence is what counts, about files of ours.
    for name in ("leaderd.service", "nightly.service"):
        said = analyze("verify", "--man=no", str(tmp_path / name)).stderr
        assert not [line for line in said.splitlines() if str(tmp_path) in line or name in line], said


def test_the_variables_in_the_units_are_ours() -> None:
    named = {name for path in UNITS.rglob("*.*") if path.suffix in {".service", ".conf"} for name in _variables(path)}
    assert named - BY_ENV.keys() == {"LEADERD_RUNTIME_DIR"}


def _variables(path: Path) -> list[str]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("Environment=")]
    return re.findall(r"(LEADERD_\w+)=", "\n".join(lines))


def test_a_job_of_the_leader_is_parsed_as_written(capfd: pytest.CaptureFixture[str]) -> None:
    text = (UNITS / "examples" / "nightly.service").read_text()
    words = re.search(r"^ExecStart=/usr/bin/leaderd (.*) --", text, re.MULTILINE)
    assert words is not None
    absent = ["--socket", "/nonexistent/leaderd.sock"]
    assert main([*words.group(1).split(), *absent, "--", "true"]) not in (0, 2), capfd.readouterr().err


@pytest.fixture
def ears(tmp_path: Path) -> socket.socket:
    hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    hearing.bind(str(tmp_path / "notify"))
    hearing.settimeout(5)
    return hearing


def heard(ears: socket.socket) -> list[str]:
    return ears.recv(4096).decode().splitlines()


def test_the_manager_is_told(ears: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": str(ears.getsockname()), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    with ears:
        manager = ServiceManager(environ)
        assert environ == {"HOME": "/"}, "no child may speak for us"
        assert manager.watchdog_s == 3.0
        manager.ready()
        assert heard(ears)[0] == "READY=1"
        manager.reloading()
        assert heard(ears)[0] == "RELOADING=1"
        manager.stopping(11.5)
        assert heard(ears) == ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=11500000"]
        manager.close()
        manager.ready()
        ears.setblocking(False)
        with pytest.raises(BlockingIOError):
            ears.recv(10)


async def test_the_watchdog_is_fed_only_while_we_decide(ears: socket.socket) -> None:
    ears.setblocking(False)
    health = [True, False, True]
    asked = asyncio.Event()

    def healthy() -> bool:
        if not health:
            asked.set()
            return False
        return health.pop(0)

    with ears:
        manager = ServiceManager({"NOTIFY_SOCKET": str(ears.getsockname()), "WATCHDOG_USEC": "30000"})
        manager.watch(healthy)
        async with asyncio.timeout(5):
            await asked.wait()
        manager.close()
        assert [heard(ears), heard(ears)] == [["WATCHDOG=1"]] * 2
        with pytest.raises(BlockingIOError):
            ears.recv(10)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nonexistent", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nonexistent", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    manager = ServiceManager(environ)
    assert manager.watchdog_s == 0.0
    manager.ready()
    manager.stopping(1)
    manager.watch(lambda: pytest.fail("asked in vain"))
    manager.close()


async def test_a_manager_that_does_not_read_costs_nothing(ears: socket.socket) -> None:
    with ears:
        manager = ServiceManager({"NOTIFY_SOCKET": str(ears.getsockname())})
        for _ in range(2000):
            manager.ready()
        manager.close()
