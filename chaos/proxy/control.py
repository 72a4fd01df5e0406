"""One pod's proxy, as a run sees it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from chaos.proxy.toxics import Toxic
from testbed.process import Process, wait_until

_TIMEOUT_S = 5.0


class ProxyProcess:
    """The process, in its pod's place in the network. `upstreams`: host and port of each store node, by its name."""

    def __init__(self, inside: Sequence[str], control: Path, upstreams: Mapping[str, str], log: Path) -> None:
        self._control = control
        named = [f"{name}={address}" for name, address in upstreams.items()]
        self.ports: dict[str, int] = {}
        """Where it listens for each upstream, once it has started."""
        self._process = Process([*inside, sys.executable, "-m", "chaos.proxy.server", str(control), *named], log)

    def start(self) -> dict[str, str]:
        """Start, and tell where it listens for each upstream. Raises `WaitTimeout`."""
        self._process.start()
        wait_until(self._control.exists, 20.0, "the proxy listens")
        self.ports = dict(self._ask({"ports": True}))
        return {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}

    def add(self, toxic: Toxic) -> int:
        """Put a toxic in force; returns its number."""
        return int(self._ask({"add": msgspec.to_builtins(toxic)}))

    def lift(self, number: int) -> None:
        """End it. Again is no error."""
        self._ask({"lift": number})

    def seen(self, number: int) -> int:
        """How often it has acted."""
        return int(self._ask({"seen": number}))

    def in_force(self, number: int) -> bool:
        """Whether it has not been lifted."""
        return bool(self._ask({"in_force": number}))

    def replied(self) -> int:
        """How many bytes of answers have been passed on, to whomever."""
        return int(self._ask({"replied": True}))

    def stop(self) -> None:
        """End the process."""
        self._process.stop(1.0)

    def _ask(self, request: dict[str, object]) -> Any:  # noqa: ANN401 - whatever JSON the request is answered with
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(self._control))
            connection.sendall(msgspec.json.encode(request) + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return msgspec.json.decode(answer)
