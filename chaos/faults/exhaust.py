"""Exhaust: a daemon has no file descriptor left, taken up by idle clients: what it holds has to do for its leadership."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import suppress
from pathlib import Path

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.substrates import CannotInject
from testbed.process import WaitTimeout, wait_until

_PATIENCE_S = 5.0


class Exhaust(msgspec.Struct, frozen=True, tag="exhaust", tag_field="fault", forbid_unknown_fields=True):
    """The daemon in role `at` may have `spare` more descriptors than it has, and so many clients come that these are gone, too."""

    at: str = "leader"
    spare: int = 4

    def inject(self, bed: Bed) -> Injection:
        """Lower the limit, then come in numbers. The clients say nothing and stay."""
        (host,) = bed.who(self.at)
        pod = bed.pod(host)
        pid = pod.daemon.pid
        if pid is None:
            raise CannotInject(f"the daemon of {host} does not run")
        _, hard = before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        limit = _used(pid) + self.spare
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
        idle = [client for _ in range(self.spare + 8) if (client := _client(pod.socket)) is not None]

        def bites() -> str:
            # Descriptors have the lowest free number: none is free below the limit, so the next one cannot be had.
            try:
                wait_until(lambda: _lowest_free(pid) >= limit, _PATIENCE_S, "all descriptors are taken")
            except WaitTimeout:
                raise NotBiting(f"{host} has {_used(pid)} descriptors and may have {limit}") from None
            return f"all {limit} descriptors are taken, {len(idle)} clients stay"

        def heal() -> None:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            while idle:
                idle.pop().close()

        def free() -> bool:
            return not pod.daemon.running or (resource.prlimit(pid, resource.RLIMIT_NOFILE) == before and _lowest_free(pid) < limit)

        gone = probed(free, _PATIENCE_S, "descriptors are free again", f"{host} still has none")
        return Injection(f"daemon {host} has no descriptor left", (host,), bites, heal, gone)


def _client(path: Path) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(1.0)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        return None
    return client


def _descriptors(pid: int) -> set[int]:
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return set()


def _used(pid: int) -> int:
    return max(_descriptors(pid), default=0) + 1


def _lowest_free(pid: int) -> int:
    taken = _descriptors(pid)
    return next(number for number in range(len(taken) + 1) if number not in taken)
