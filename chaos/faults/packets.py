"""Packets: delayed, out of order, damaged or doubled on their way into a host. Throttle: a narrow line, both ways."""

from __future__ import annotations

import shutil
from typing import Annotated

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, lifting, probed
from chaos.packets.kinds import Kind, Mishap
from testbed.process import WaitTimeout, wait_until

_WORDS = {"delay": "come late", "reorder": "are overtaken", "corrupt": "are damaged", "duplicate": "come twice"}
_SAMPLE_BYTES = 6_000
"""Not much: what is measured with stands in the way of what is meant to pass."""


class Packets(msgspec.Struct, frozen=True, tag="packets", tag_field="fault", forbid_unknown_fields=True):
    """`percent` of the packets that reach `at` from others suffer a mishap (`chaos/packets/kinds.py`)."""

    at: str
    kind: Kind
    percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    ms: int = 0
    jitter_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """From now on."""
        hosts = bed.who(self.at)
        mishap = Mishap(self.kind, self.percent, self.ms, self.jitter_ms)
        tickets = [bed.links.mishap(host, mishap) for host in hosts]
        more = f" by {self.ms} ms, give or take {self.jitter_ms}" if self.ms else ""

        def bites() -> str:
            try:
                wait_until(lambda: all(bed.links.acted(each) for each in tickets), bed.ttl_s + 5.0, "it has happened to a packet")
            except WaitTimeout:
                raise NotBiting(f"no packet to {' '.join(hosts)} met with it") from None
            return f"happened to {sum(bed.links.acted(each) for each in tickets)} packets so far"

        text = f"{self.percent} % of the packets to {' '.join(hosts)} {_WORDS[self.kind]}{more}"
        gone = probed(
            lambda: self._passes(bed, hosts, tickets),
            10.0,
            "packets pass untouched",
            f"something still happens to those of {' '.join(hosts)}",
        )
        return Injection(text, tuple(hosts), bites, lifting(bed.links, tickets), gone)

    def _passes(self, bed: Bed, hosts: list[str], tickets: list[int]) -> bool:
        before = [bed.links.acted(each) for each in tickets]
        other = {host: next(each for each in bed.store_hosts if each != host) for host in hosts}
        through = all(bed.links.reaches(host, there, bed.port(there), 1.0) for host, there in other.items())
        return through and before == [bed.links.acted(each) for each in tickets]


class Throttle(msgspec.Struct, frozen=True, tag="throttle", tag_field="fault", forbid_unknown_fields=True):
    """What reaches or leaves `at` passes a line of `kbit` a second."""

    at: str
    kbit: Annotated[int, msgspec.Meta(ge=8)] = 64

    def available(self) -> str | None:
        """Why this machine cannot do it, or None if it can."""
        return None if shutil.which("tc") else "a line is narrowed by tc, which is not on PATH (Debian: iproute2)"

    def inject(self, bed: Bed) -> Injection:
        """From now on."""
        hosts = bed.who(self.at)
        tickets = [bed.links.throttle(host, self.kbit) for host in hosts]

        def bites() -> str:
            source = next(host for host in bed.store_hosts if host != hosts[0])
            kbit = bed.links.rate_kbit(source, hosts[0], _SAMPLE_BYTES)
            if kbit > 2 * self.kbit:
                raise NotBiting(f"{kbit:.0f} kbit/s from {source} to {hosts[0]}")
            return f"{kbit:.0f} kbit/s from {source} to {hosts[0]}"

        def wide() -> bool:
            source = next(host for host in bed.store_hosts if host != hosts[0])
            return bed.links.rate_kbit(source, hosts[0], _SAMPLE_BYTES) > 2 * self.kbit

        gone = probed(wide, 20.0, f"more than {2 * self.kbit} kbit/s pass", f"the line of {hosts[0]} is still narrow")
        text = f"{' '.join(hosts)} on a line of {self.kbit} kbit/s"
        return Injection(text, tuple(hosts), bites, lifting(bed.links, tickets), gone)
