"""What a leader writes to: one real PostgreSQL or Redis server on a loopback port, for the fencing examples.

Not stores of elections, so no clusters. Data is thrown away with the folder, so nothing waits for a disk.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import fetch, ports
from testbed.process import Process, StartError, wait_until

_START_S = 20.0


class Resource:
    """One server; a context manager that starts it and stops it for certain."""

    kind = ""

    def __init__(self, folder: Path) -> None:
        """Describe it; nothing runs yet. Data and log go below `folder`."""
        self.folder = folder
        self._reserved = ports.reserve(1)
        self.port = self._reserved.ports[0]
        self.installed = fetch.installed(self.kind)
        root = Path(self.installed.origin)
        libraries = sorted({str(each.parent) for each in root.glob("**/*.so*") if "postgresql" not in each.parts})
        self.env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "LC_ALL": "C", "TZ": "UTC"}
        self._process: Process | None = None

    def command(self) -> list[str]:
        """What to run; prepares the data folder."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it, and return once it takes connections. Raises `StartError` with the tail of its log."""
        self._process = Process(self.command(), self.folder / f"{self.kind}.log", env=self.env)
        self._process.start()
        wait_until(lambda: self._answers() or self._dead(), _START_S, f"{self.kind} takes connections")
        if self._dead():
            raise StartError(f"{self.kind} ended at once:\n{self._process.log_tail()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Kill it: nobody wants its data."""
        if self._process is not None:
            self._process.kill()
        self._reserved.release()

    def _dead(self) -> bool:
        return self._process is None or not self._process.running

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Redis(Resource):
    """One Redis server without persistence."""

    kind = "redis"

    def command(self) -> list[str]:
        """See `Resource.command`."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        # Several programs in one: its own name says which.
        link = self.folder / "redis-server"
        link.symlink_to(self.installed.programs["redis-server"])
        return [str(link), *options]


class PostgreSQL(Resource):
    """One PostgreSQL server with a database `postgres`, whose user `postgres` needs no password."""

    kind = "postgresql"

    @property
    def dsn(self) -> str:
        """Where to connect, as libpq takes it."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def command(self) -> list[str]:
        """See `Resource.command`."""
        data, programs = self.folder / "data", self.installed.programs
        initdb = [programs["initdb"], "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run([*_as_user(), *initdb], env=self.env, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise StartError(f"initdb: {done.stderr.strip()}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "jit": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_as_user(), programs["postgres"], "-D", str(data), *options]

    def _answers(self) -> bool:
        return self._process is not None and "ready to accept connections" in self._process.log_tail()


def _as_user() -> list[str]:
    """PostgreSQL refuses to be root: root gets a user namespace of its own, in which the same user has another number."""
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise StartError("PostgreSQL does not run as root, and there is no unshare (util-linux) to be somebody else")
    return [unshare, "--user", "--map-user=1000", "--map-group=1000"]
