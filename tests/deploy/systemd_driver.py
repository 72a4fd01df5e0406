"""Runs inside the box, as a service of the systemd under test: works the unit as an operator would, and writes down what it saw.

`python systemd_driver.py RESULT`; the result is one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from testbed import WaitTimeout, wait_until

CONFIG = Path("/etc/leaderd/leaderd.yaml")


def systemctl(*words: str) -> int:
    return subprocess.run(["systemctl", *words], timeout=60).returncode


def show(*names: str) -> dict[str, str]:
    said = subprocess.run(
        ["systemctl", "show", "leaderd", *(f"--property={name}" for name in names)], capture_output=True, text=True, timeout=20
    )
    return dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)


def until(condition: Callable[[], bool], within_s: float) -> bool:
    try:
        return wait_until(condition, within_s, "it", every=0.05)
    except WaitTimeout:
        return False


def ask(target: str) -> tuple[int, str]:
    """What the daemon answers on its socket; (0, "") when there is no answer."""
    connection = HTTPConnection("localhost", timeout=1)
    connection.sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.sock.connect("/run/leaderd/leaderd.sock")
        connection.request("GET", target)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def leads() -> bool:
    return ask("/is-leader?promise=0")[0] == 200


def process() -> dict[str, str]:
    """What the kernel says of the daemon's process."""
    status = Path(f"/proc/{show('MainPID')['MainPID']}/status").read_text()
    return {k: v.strip() for k, v in (line.split(":", 1) for line in status.splitlines() if ":" in line)}


def drive() -> dict[str, object]:
    seen: dict[str, object] = {"start": systemctl("start", "leaderd"), "after_start": show("ActiveState", "StatusText", "Type")}
    seen["leads"] = until(leads, 10)
    seen["process"] = process()
    seen["socket_mode"] = f"{Path('/run/leaderd/leaderd.sock').stat().st_mode & 0o7777:o}"
    seen["state_files"] = sorted(f"{each.name} {each.stat().st_mode & 0o777:o}" for each in Path("/run/leaderd").iterdir())
    pid = show("MainPID")["MainPID"]
    CONFIG.write_text(CONFIG.read_text().replace("level: info", "level: debug"))
    seen["reload"] = systemctl("reload", "leaderd")
    seen["same_process_after_reload"] = pid == show("MainPID")["MainPID"]
    seen["leads_after_reload"] = leads()
    os.kill(int(pid), signal.SIGSTOP)
    seen["watchdog_restarts"] = until(lambda: show("NRestarts")["NRestarts"] == "1" and leads(), 30)
    seen["new_process_after_watchdog"] = pid != show("MainPID")["MainPID"]
    seen["stop"], seen["after_stop"] = systemctl("stop", "leaderd"), show("Result", "ExecMainStatus", "ActiveState")
    CONFIG.write_text(CONFIG.read_text() + "surprise: 1\n")
    systemctl("start", "leaderd")
    seen["bad_config"] = show("Result", "ExecMainStatus", "ActiveState", "SubState")
    return seen


def write_down(driven: Callable[[], dict[str, object]], target: Path) -> None:
    """Drive, and leave the result at `target`, at once and whole; a failure is a result too."""
    try:
        result = driven()
    except Exception as error:
        result = {"error": repr(error)}
    (target.with_suffix(".tmp")).write_text(json.dumps(result, indent=1))
    (target.with_suffix(".tmp")).rename(target)


if __name__ == "__main__":
    write_down(drive, Path(sys.argv[1]))
