"""Processes end when told to, when killed, with everything they started, and with the process that started them."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from testbed import StartError, WaitTimeout, wait_until
from testbed.process import Process

ROOT = Path(__file__).parent.parent.parent
SLEEPER = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('up', child.pid, flush=True)\ntime.sleep(600)",
]


def started(argv: list[str], tmp_path: Path) -> Process:
    process = Process(argv, tmp_path / "log")
    process.start()
    wait_until(lambda: "up" in process.log_tail(), 10, "the process has said so")
    return process


def exists(pid: int | None) -> bool:
    """Whether the process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("argv", [SLEEPER, STUBBORN], ids=["polite", "stubborn"])
@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_ends_however_it_is(argv: list[str], frozen: bool, how: str, tmp_path: Path) -> None:
    process = started(argv, tmp_path)
    pid = process.pid
    assert process.running
    if frozen:
        process.freeze()
    if how == "stop":
        process.stop(grace=0.3)
    else:
        process.kill()
    assert not process.running
    assert process.pid is None
    assert not exists(pid)
    process.stop()
    process.kill()


def test_freeze_and_thaw(tmp_path: Path) -> None:
    count = "import time\nwhile True: print(time.monotonic(), flush=True); time.sleep(0.005)"
    process = Process([sys.executable, "-c", count], tmp_path / "log")
    process.start()
    wait_until(lambda: len(process.log_tail(99).splitlines()) > 3, 10, "it counts")
    process.freeze()
    assert process.running
    before = process.log.read_text()
    time.sleep(0.1)
    assert process.log.read_text() == before
    process.thaw()
    wait_until(lambda: len(process.log.read_text()) > len(before), 10, "it counts again")
    process.freeze()
    process.thaw()
    process.stop()


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    for how in ("stop", "kill"):
        process = started(PARENT, tmp_path)
        child = int(process.log_tail(1).split()[1])
        getattr(process, how)()
        wait_until(lambda pid=child: not exists(pid), 5, "the grandchild is gone")
        process.log.unlink()


def test_outlives_the_thread_that_started_it_but_not_the_process(tmp_path: Path) -> None:
    process = Process(SLEEPER, tmp_path / "log")
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    wait_until(lambda: "up" in process.log_tail(), 10, "the process has said so")
    assert process.running
    process.stop()

    code = (
        "import os, signal, sys; from pathlib import Path; from testbed.process import Process\n"
        f"p = Process({SLEEPER!r}, Path({str(tmp_path / 'second')!r})); p.start(); print(p.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    orphan = int(done.stdout)
    wait_until(lambda: not exists(orphan), 5, "the server of a killed test run is gone")


def test_starts_again_and_appends_to_its_log(tmp_path: Path) -> None:
    process = started(SLEEPER, tmp_path)
    with pytest.raises(StartError, match="already running"):
        process.start()
    process.kill()
    process.start()
    wait_until(lambda: process.log.read_text().count("up") == 2, 10, "both starts are in the log")
    process.stop()


def test_a_death_of_its_own_is_noticed(tmp_path: Path) -> None:
    process = Process(["/no/such/program"], tmp_path / "log")
    process.start()
    wait_until(lambda: not process.running, 10, "it has ended")
    assert process.started
    assert "cannot start /no/such/program" in process.log_tail()
    with pytest.raises(RuntimeError, match="not running"):
        process.freeze()
    process.stop()
    assert not process.started
    assert os.path.exists(process.log)


def test_a_wait_says_what_it_waited_for() -> None:
    with pytest.raises(WaitTimeout, match=r"not within 0\.05 s: pigs fly"):
        wait_until(lambda: False, 0.05, "pigs fly")
    assert wait_until(lambda: "truth", 1, "a value") == "truth"
