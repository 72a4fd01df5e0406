"""Docker's engine in namespaces of its own, where its firewall rules, mounts and containers hurt nobody and vanish with it.

A plain engine sets the machine's FORWARD policy to DROP, which breaks every bridge beside it. In a network namespace of its own it
has no way out either, and needs none. Engine and command are Debian's, unpacked into the git-ignored cache folder.
Images stay there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from testbed import apt, fetch, wait_until
from tests.deploy.box.debian import LIBRARIES, folder, unpacked

SUITE = "bookworm"
_PACKAGES = ("docker.io", "iptables")
# The C library is the machine's own; the others are not wanted by the programs, only by what installs them.
_WITHOUT = (
    "adduser",
    "debconf",
    "dpkg",
    "gcc-12-base",
    "init-system-helpers",
    "libc6",
    "mawk",
    "passwd",
    "perl-base",
    "tar",
    "tini",
)
START_S = 60.0
_GUARD = Path(apt.__file__).with_name("guard.py")
_BOX = ("unshare", "-mnpf", "--kill-child", "--mount-proc")
_INSIDE = """
mount -t tmpfs tmpfs /run
ip link set lo up
exec dockerd --storage-driver=overlay2 --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$2"
"""
# What the engine will do, tried in a box that is thrown away; `$1` is a folder beside the images.
_TRIAL = """
mount -t tmpfs tmpfs /run
ip link add probe0 type bridge
cd "$1" && mkdir lower upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/memory; do
    ! test -d "$hierarchy" || test -w "$hierarchy" || { echo "$hierarchy cannot be written" >&2; exit 1; }
done
"""


def missing() -> str | None:
    """Why there can be no engine here, or None."""
    if platform.machine() != "x86_64":
        return f"it was made for x86_64, and this is {platform.machine()}"
    if os.geteuid() != 0:
        return "the engine needs root"
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: util-linux, iproute2)"
    return apt.missing() or _refused()


def _refused() -> str | None:
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder()) as scratch:
        words = [*_BOX, "sh", "-ec", _TRIAL, "box", scratch]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return None if done.returncode == 0 else f"no box of namespaces for it can be made: {done.stderr.strip() or done.returncode}"


class Engine:
    """A running engine, as a context manager; whatever runs in it ends with it. One at a time: another waits."""

    def __init__(self) -> None:
        self._root = unpacked("engine", SUITE, _PACKAGES, without=_WITHOUT).root
        for name in ("iptables", "ip6tables"):  # which Debian's scripts would choose
            link = self._root / "usr/sbin" / name
            if not link.exists():
                link.symlink_to(f"{name}-nft")
        self._held = ExitStack()
        self._box: subprocess.Popen[bytes] | None = None
        self._socket = ""

    def environment(self) -> dict[str, str]:
        """What programs need to speak with it."""
        path = f"{self._root}/usr/sbin:{self._root}/usr/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "DOCKER_HOST": f"unix://{self._socket}", "DOCKER_SOCKET": self._socket}

    def __enter__(self) -> Engine:
        with ExitStack() as held:
            held.enter_context(fetch.locked(folder() / "engine.lock"))
            # Not in the cache folder, whose path may be longer than a socket's can be.
            self._socket = f"{held.enter_context(tempfile.TemporaryDirectory(prefix='engine-'))}/docker.sock"
            self._start()
            held.callback(self._stop)
            wait_until(self._answers, START_S, f"the engine answers; see {folder()}/engine.log", every=0.1)
            # What a run that was cut off has left: the engine starts it again.
            for left in self.docker("ps", "-aq").split():
                self.docker("rm", "-fv", left)
            for kind in ("network", "volume", "image"):
                self.docker(kind, "prune", "-f")
            self._held = held.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.close()

    def docker(self, *words: str, stdin: Path | None = None, timeout_s: float = 600, **more: str) -> str:
        """What the command says. Raises `RuntimeError` with its complaint."""
        with (stdin or Path(os.devnull)).open("rb") as given:
            done = subprocess.run(
                ["docker", *words],
                capture_output=True,
                text=True,
                stdin=given,
                timeout=timeout_s,
                env={**self.environment(), **more},
            )
        if done.returncode != 0:
            raise RuntimeError(f"docker {words[0]}: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}")
        return done.stdout.strip()

    def _start(self) -> None:
        libraries = f"{self._root}/{LIBRARIES}"
        inside = {**self.environment(), "LD_LIBRARY_PATH": libraries, "XTABLES_LIBDIR": f"{libraries}/xtables"}
        words = [*_BOX, "sh", "-ec", _INSIDE, "box", str(folder()), self._socket]
        with (folder() / "engine.log").open("wb") as log:
            self._box = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *words],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=inside,
            )

    def _stop(self) -> None:
        if self._box is not None:
            self._box.kill()
            self._box.wait()

    def _answers(self) -> bool:
        if self._box is not None and self._box.poll() is not None:
            raise RuntimeError(f"the engine has ended with {self._box.returncode}: see {folder()}/engine.log")
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=30, env=self.environment())
        return done.returncode == 0
