"""A real systemd as PID 1 of namespaces of its own, with its own /etc, /run, /var/lib and network, and a driver that runs in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed import fetch, lacking, wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SYSTEMD = "/usr/lib/systemd/systemd"

# Shared mounts: credentials are mounted by a process in a mount namespace of its own, and reach the service only by propagation.
# On a host PID 1 sees to that; in what it takes for a container it leaves it to whoever made it: us. /etc keeps what Java needs.
BOX = """set -e
mount --make-rshared /
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/systemd/system /run/etc
cp -r {work}/units/. /run/systemd/system
cp /etc/passwd /etc/group /etc/ld.so.cache /etc/localtime /run/etc 2>/dev/null || :
cp -a /etc/alternatives /etc/java-* /run/etc 2>/dev/null || :
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
Environment="PATH={path}" "PYTHONPATH={root}" "{cache_env}={cache}"
ExecStart={python} {driver} {words}
"""
# What differs from a host where leaderd is installed: where Python and this checkout are, and where the log goes.
DROP_IN = """[Unit]
DefaultDependencies=no
After=
Wants=
[Service]
ExecStart=
ExecStart={python} -m leaderd run --config /etc/leaderd/leaderd.yaml
Environment=PYTHONPATH={root}
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


def run(work: Path, driver: Path, etc: Mapping[str, str], *words: str, drop_ins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the driver saw, and the log.

    It is called with the path for its result and `words`. `etc` are files for /etc/leaderd, root's own those below secrets/;
    `drop_ins` are added to leaderd.service. Skips the test where there can be no box.
    """
    reason = unusable()
    if reason is not None:
        lacking("systemd", reason)
    result, units, folder = work / "result.json", work / "units", work / "etc" / "leaderd"
    (units / "leaderd.service.d").mkdir(parents=True)
    shutil.copy(UNITS / "leaderd.service", units)
    homes = {Path(sys.base_prefix).resolve(), Path(sys.prefix), ROOT}
    # What the unit hides from the daemon, and where a checkout may lie all the same.
    hidden = ("/root", "/tmp", "/var/tmp")
    paths = " ".join(str(each) for each in sorted(homes) if any(each.is_relative_to(place) for place in hidden))
    box = DROP_IN.format(python=sys.executable, root=ROOT, paths=paths, log=work / "daemon.log")
    for name, text in {**(drop_ins or {}), "zz-box.conf": box}.items():
        (units / "leaderd.service.d" / name).write_text(text)
    called = DRIVER.format(
        root=ROOT,
        path=os.environ["PATH"],  # Java may be anywhere
        cache_env=fetch.CACHE_ENV,
        cache=fetch.cache(),
        python=sys.executable,
        driver=driver,
        words=" ".join([str(result), *words]),
    )
    (units / "driver.service").write_text(called)
    for name, text in etc.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o600 if name.startswith("secrets/") else 0o644)
    return _boot(work, result)


def _boot(work: Path, result: Path) -> dict[str, Any]:
    log = (work / "log").open("wb")
    box = BOX.format(work=work, systemd=SYSTEMD)
    process = subprocess.Popen(["unshare", "-mnpfC", "--kill-child", "--mount-proc", "bash", "-c", box], stdout=log, stderr=log)
    try:
        wait_until(lambda: result.exists() or process.poll() is not None, 100, "the driver is through")
    finally:
        process.kill()
        process.wait()
        log.close()
    text = "".join(each.read_text(errors="replace") for each in (work / "log", work / "daemon.log") if each.exists())
    assert result.exists(), text[-4000:]
    found: dict[str, Any] = {**json.loads(result.read_text()), "log": text}
    assert "error" not in found, found["error"] + text[-4000:]
    return found
