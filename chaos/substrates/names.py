"""A name server of the run's own, which can be broken: every host asks it, and it knows the store nodes' names and nothing else."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from chaos.substrates import CannotInject

DOMAIN = "chaos.test"  # RFC 6761: nobody's
Mood = Literal["well", "silent", "unknown", "wrong", "slow"]
_NOWHERE = "192.0.2.250"
_A, _AAAA, _IN = 1, 28, 1
_NAME_ERROR = 3
_TTL_S = 0
_RESOLVER = "nameserver {address}\noptions timeout:1 attempts:1\n"


class NameServer:
    """Answers on that UDP port of `address`, which is the harness's own. `mood` is how it answers from now on:

    `well`; `silent`: not at all; `unknown`: there is no such name (NXDOMAIN); `wrong`: the address of nobody; `slow`: after
    `slow_s`. `asked` counts the questions of A records.
    """

    slow_s = 4.0

    def __init__(self, address: str, known: Mapping[str, str], port: int = 53) -> None:
        self.mood: Mood = "well"
        self.asked = 0
        self._known = {f"{name}.{DOMAIN}": there for name, there in known.items()}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self.port = int(self._socket.getsockname()[1])
        self._timers: list[threading.Timer] = []
        threading.Thread(target=self._serve, name="name server", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        for timer in self._timers:
            timer.cancel()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, asker = self._socket.recvfrom(512)
            except OSError:
                return
            answer = self._answer(question)
            if answer is None:
                continue
            if self.mood == "slow":
                timer = threading.Timer(self.slow_s, self._send, (answer, asker))
                timer.daemon = True
                self._timers.append(timer)
                timer.start()
            else:
                self._send(answer, asker)

    def _send(self, answer: bytes, asker: tuple[str, int]) -> None:
        try:
            self._socket.sendto(answer, asker)
        except OSError:
            pass  # it is closed, or whoever asked is cut off

    def _answer(self, question: bytes) -> bytes | None:
        """RFC 1035, section 4: the header, the question as it came, and an answer record or none."""
        name, kind, end = _question(question)
        self.asked += kind == _A
        if self.mood == "silent":
            return None
        there = self._known.get(name.lower())
        code = 0 if there is not None and self.mood != "unknown" else _NAME_ERROR
        record = b""
        if there is not None and code == 0 and kind == _A:
            address = _NOWHERE if self.mood == "wrong" else there
            record = struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL_S, 4) + socket.inet_aton(address)
        header = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, bool(record), 0, 0)
        return header + question[12:end] + record


def _question(data: bytes) -> tuple[str, int, int]:
    """The name that is asked for, of which kind, and where the question ends."""
    labels, at = [], 12
    while at < len(data) and data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    (kind,) = struct.unpack_from("!H", data, at + 1) if at + 3 <= len(data) else (0,)
    return ".".join(labels), kind, at + 5


def ask_only(address: str, scratch: Path) -> None:
    """From now on every program of this run asks that name server: the machine's file is covered, not changed."""
    own = scratch / "resolv.conf"
    own.write_text(_RESOLVER.format(address=address), encoding="ascii")
    there = Path("/etc/resolv.conf")
    if not there.exists():
        raise CannotInject("this machine has no /etc/resolv.conf to cover, so nobody would ask our name server")
    done = subprocess.run(["mount", "--bind", str(own), str(there.resolve())], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise CannotInject(f"/etc/resolv.conf cannot be covered: {done.stderr.strip()}")
