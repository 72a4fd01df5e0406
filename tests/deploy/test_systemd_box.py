"""The unit under a real systemd: PID 1 of its own namespaces, with its own /etc, /run and /var/lib, alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SYSTEMD = "/usr/lib/systemd/systemd"

BOX = """set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/etc
cp -r {work}/units/. /run/systemd/system
cp /etc/passwd /etc/group /etc/ld.so.cache /etc/localtime /run/etc 2>/dev/null || :
echo 'leaderd:x:2040:2040::/var/lib/leaderd:/usr/sbin/nologin' >>/run/etc/passwd
echo 'leaderd:x:2040:' >>/run/etc/group
cp -r {work}/etc/. /run/etc
mount --bind /run/etc /etc
mount -t tmpfs tmpfs /var/lib
ip link set lo up
mount -t cgroup2 none /sys/fs/cgroup
exec env -i container=box PATH="$PATH" SYSTEMD_UNIT_PATH=/run/systemd/system {systemd} --system --unit=driver.service \\
  --log-target=console --log-level=info --show-status=false --crash-shell=false --crash-reboot=false
"""
DRIVER = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=PYTHONPATH={root}
ExecStart={python} {driver} {result}
"""
# What differs from a host where leaderd is installed: where Python and this checkout are, and the patience of the test.
DROP_IN = """[Unit]
DefaultDependencies=no
After=
Wants=
[Service]
ExecStart=
ExecStart={python} -m leaderd run --config /etc/leaderd/leaderd.yaml
Environment=PYTHONPATH={root}
WatchdogSec=3s
StandardError=append:{log}
TemporaryFileSystem=/root:ro
ProtectHome=no
BindReadOnlyPaths={paths}
"""


def unusable() -> str | None:
    """Why a systemd cannot be run in a box here, or None."""
    if os.geteuid() != 0 or not os.path.exists(SYSTEMD) or not shutil.which("systemctl"):
        return "needs root, systemd and systemctl"
    probe = "mount -t cgroup2 none /sys/fs/cgroup && mkdir /sys/fs/cgroup/probe && rmdir /sys/fs/cgroup/probe"
    done = subprocess.run(["unshare", "-mnpfC", "--kill-child", "bash", "-c", probe], capture_output=True, text=True, timeout=20)
    return f"no cgroups of our own: {done.stderr.strip()}" if done.returncode else None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reason = unusable()
    if reason is not None:
        pytest.skip(f"NO SYSTEMD: {reason}")
    work = tmp_path_factory.mktemp("systemd")
    result, units, etc = work / "result.json", work / "units", work / "etc" / "leaderd"
    (units / "leaderd.service.d").mkdir(parents=True)
    etc.mkdir(parents=True)
    shutil.copy(UNITS / "leaderd.service", units)
    homes = {Path(sys.base_prefix).resolve(), Path(sys.prefix), ROOT}
    # What the unit hides from the daemon, and where a checkout may lie all the same.
    hidden = ("/root", "/tmp", "/var/tmp")
    paths = " ".join(str(each) for each in sorted(homes) if any(each.is_relative_to(place) for place in hidden))
    drop_in = DROP_IN.format(python=sys.executable, root=ROOT, paths=paths, log=work / "daemon.log")
    (units / "leaderd.service.d" / "box.conf").write_text(drop_in)
    driver = Path(__file__).with_name("systemd_driver.py")
    (units / "driver.service").write_text(DRIVER.format(root=ROOT, python=sys.executable, driver=driver, result=result))
    (etc / "leaderd.yaml").write_text(
        "store: {url: 'local:///var/lib/leaderd'}\nelections: [{name: jobs}]\nlisten: {http: off, ops: off}\nlog: {level: info}\n"
    )
    log = (work / "log").open("wb")
    box = BOX.format(work=work, systemd=SYSTEMD)
    process = subprocess.Popen(["unshare", "-mnpfC", "--kill-child", "--mount-proc", "bash", "-c", box], stdout=log, stderr=log)
    try:
        wait_until(lambda: result.exists() or process.poll() is not None, 55, "the driver is through")
    finally:
        process.kill()
        process.wait()
        log.close()
    text = "".join(each.read_text(errors="replace") for each in (work / "log", work / "daemon.log") if each.exists())
    assert result.exists(), text[-4000:]
    found: dict[str, Any] = {**json.loads(result.read_text()), "log": text}
    assert "error" not in found, found["error"] + text[-4000:]
    return found


pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("systemd")]


def test_start_returns_when_it_takes_part(seen: dict[str, Any]) -> None:
    assert seen["start"] == 0, seen["log"][-4000:]
    assert seen["after_start"] == {"ActiveState": "active", "StatusText": "taking part in elections", "Type": "notify"}
    assert seen["leads"]


def test_it_runs_with_nothing_to_abuse(seen: dict[str, Any]) -> None:
    process = seen["process"]
    assert process["Uid"].split()[0] == "2040"
    assert {process[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
    assert seen["socket_mode"] == "660"
    assert "jobs.lease 640" in seen["state_files"]


def test_a_reload_costs_no_term(seen: dict[str, Any]) -> None:
    assert seen["reload"] == 0
    assert seen["same_process_after_reload"]
    assert seen["leads_after_reload"]


def test_a_frozen_daemon_is_replaced(seen: dict[str, Any]) -> None:
    assert seen["watchdog_restarts"]
    assert seen["new_process_after_watchdog"]


def test_stop_is_a_success(seen: dict[str, Any]) -> None:
    assert seen["stop"] == 0
    assert seen["after_stop"] == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}


def test_a_refused_configuration_is_not_tried_again_and_again(seen: dict[str, Any]) -> None:
    assert seen["bad_config"] == {"Result": "exit-code", "ExecMainStatus": "78", "ActiveState": "failed", "SubState": "failed"}
