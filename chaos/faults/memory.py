"""OutOfMemory: a daemon gets a limit of memory that it cannot keep to, and the kernel kills it, as it kills a container."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from contextlib import suppress
from pathlib import Path

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting
from chaos.faults.kill import alive
from chaos.substrates import CannotInject
from testbed.process import WaitTimeout, wait_until

PREFIX = "leaderd-chaos-"
_ROOT = Path("/sys/fs/cgroup")
_LIMIT_BYTES = 256 << 10
_CLIENTS = 100
_MOST_CLIENTS = 900
"""How many come as long as it lives: how many find room in what it had once and let go of is chance. Below its descriptors."""
_HEADERS = b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 7000
"""The beginning of a request, which the daemon has to keep."""
_PATIENCE_S = 20.0


class OutOfMemory(msgspec.Struct, frozen=True, tag="out-of-memory", tag_field="fault", forbid_unknown_fields=True):
    """The daemon in role `at` may take a quarter of a mebibyte more than it has, and clients come that make it want more than that.

    Its app lives on. Healing starts it again, without a limit.
    """

    at: str = "leader"

    def available(self) -> str | None:
        """Why this machine cannot do it, or None if it can."""
        return None if _base() is not None else "memory is limited by a control group, and this user may make none: run as root"

    def inject(self, bed: Bed) -> Injection:
        """Into a group of its own. What it has already is not counted there; what it takes from now on is."""
        (host,) = bed.who(self.at)
        pod, base = bed.pod(host), _base()
        pid = pod.daemon.pid
        if base is None or pid is None:
            raise CannotInject(str(self.available() or f"the daemon of {host} does not run"))
        group = base / f"{PREFIX}{secrets.token_hex(4)}"  # our process id is one of many runs'
        group.mkdir()
        limit = next(each for each in (group / "memory.limit_in_bytes", group / "memory.max") if each.exists())
        limit.write_text(str(_LIMIT_BYTES), encoding="ascii")
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        clients = _clients(pod.socket)

        def ended() -> bool:
            if pod.daemon.running and len(clients) < _MOST_CLIENTS:
                clients.extend(_clients(pod.socket))
            return not pod.daemon.running

        def bites() -> str:
            try:
                wait_until(ended, _PATIENCE_S, f"the daemon of {host} is killed")
            except WaitTimeout:
                raise NotBiting(f"the daemon of {host} makes do with what it has") from None
            finally:
                while clients:
                    clients.pop().close()
            if _kills(group) == 0:
                raise NotBiting(f"the daemon of {host} has ended, and not for its memory")
            pod.expect(signal.SIGKILL)
            bed.recorder.note("process", pod=pod.name, what="killed")
            pod.note_exit()
            return "the kernel tells that it has killed it for its memory"

        def heal() -> None:
            while clients:
                clients.pop().close()
            if pod.daemon.running:
                (base / "cgroup.procs").write_text(str(pid), encoding="ascii")
            with suppress(OSError):
                group.rmdir()
            if not pod.daemon.running:
                pod.start_daemon()

        return Injection(f"daemon {host} out of memory", (host,), bites, heal, lambda: alive([pod]))


def _base() -> Path | None:
    """Where groups with a limit of memory are made: version 1 has a tree of its own for it, version 2 one for everything."""
    for base in (_ROOT / "memory", _ROOT):
        version2 = base / "cgroup.subtree_control"
        able = (base / "memory.limit_in_bytes").exists() or (version2.exists() and "memory" in version2.read_text().split())
        if able and os.access(base, os.W_OK) and os.geteuid() == 0:
            return base
    return None


def _kills(group: Path) -> int:
    """How many of the group the kernel has killed, in the words of either version."""
    for name in ("memory.oom_control", "memory.events"):
        with suppress(OSError):
            words = dict(line.split() for line in (group / name).read_text(encoding="ascii").splitlines())
            return int(words.get("oom_kill", 0))
    return 0


def _clients(path: Path) -> list[socket.socket]:
    """Some more of them; fewer than that if it takes no more."""
    return [client for _ in range(_CLIENTS) if (client := _client(path)) is not None]


def _client(path: Path) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(0.2)
    try:
        client.connect(str(path))
        client.sendall(_HEADERS)
    except OSError:
        client.close()
        return None
    return client


def left_over() -> list[Path]:
    """Groups of runs that were killed: nothing runs in them."""
    base = _base()
    found = [] if base is None else sorted(base.glob(f"{PREFIX}*"))
    return [group for group in found if not (group / "cgroup.procs").read_text(encoding="ascii")]
