"""Where a run takes place, behind one vocabulary: hosts by name, and links between them that can be broken one way at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chaos.packets.kinds import Mishap
from chaos.program import Part, Program

if TYPE_CHECKING:
    from chaos.substrates.names import NameServer


class CannotInject(RuntimeError):
    """This substrate, or this machine, cannot do that; the text says why and what would help."""


class Links(Protocol):
    """The network between the hosts of a run. What breaks it takes effect, then returns a ticket; `lift` takes that one back."""

    name: str
    """`netns`, `proxy`, `docker` or `sim`."""

    def block(self, sources: Iterable[str], targets: Iterable[str]) -> int:
        """Drop, silently, what any of `sources` sends to any of `targets`; the other direction stays as it is."""

    def lose(self, host: str, percent: int) -> int:
        """Drop that share of what reaches `host` from other hosts, at random."""

    def reset(self, host: str) -> int:
        """Answer whatever TCP reaches `host` from other hosts with a reset."""

    def mishap(self, host: str, mishap: Mishap) -> int:
        """Let it happen to the packets that reach `host` from other hosts."""

    def acted(self, ticket: int) -> int:
        """To how many packets it has happened, of a `mishap` that is in force."""

    def throttle(self, host: str, kbit: int) -> int:
        """Let no more than so many kbit a second reach or leave `host`."""

    def rate_kbit(self, source: str, target: str, size: int) -> float:
        """How many kbit a second reach `target` from `source`, measured with `size` bytes."""

    def reaches(self, source: str, target: str, port: int, within_s: float = 1.0) -> bool:
        """Whether a TCP connection from `source` to `target` can be made now: the probe that verifies a cut, and its end."""

    def ping_loss(self, source: str, target: str, count: int) -> tuple[int, int]:
        """How many of `count` datagrams from one host to the other were lost, and how many were sent."""

    def lift(self, ticket: int) -> None:
        """End one disturbance; nothing happens if it has ended before."""

    def resolves(self, host: str, name: str, within_s: float) -> str | None:
        """The address that a program on that host finds for a name; None if it finds none in time."""

    def name_server(self, known: Mapping[str, str]) -> NameServer:
        """A name server that every host asks from now on, and that knows these names in its domain."""

    def small_disks(self, nodes: int) -> Path:
        """A folder in which `node0`, `node1` and so on are disks of their own, small enough to be filled."""

    def address(self, host: str) -> str:
        """The host's address, as the others reach it."""

    def inside(self, host: str) -> Sequence[str]:
        """The command prefix that runs a program on that host."""

    def program(self, host: str, part: Part, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Program:
        """A program of the pod on that host, which is not started yet."""
