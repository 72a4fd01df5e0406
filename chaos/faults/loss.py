"""Loss and Reset: packets that reach a host vanish at random, or every TCP segment is answered with a reset."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, NotHealed, lifting, probed
from chaos.severed import by_cut

_TRIES = 1000
"""So many datagrams tell 5 % from none, and from 10 %, with a chance of error below one in ten thousand."""
_SIGMAS = 4.0
_HEALED_S = 20.0
_FEW = 250
"""At 5 %, one run in 300,000 would lose none of so many."""


class Loss(msgspec.Struct, frozen=True, tag="loss", tag_field="fault", forbid_unknown_fields=True):
    """`percent` of what reaches `at` (a role or a host) from others is dropped."""

    at: str
    percent: Annotated[int, msgspec.Meta(ge=1, le=100)]

    def inject(self, bed: Bed) -> Injection:
        """Drop at random."""
        hosts = bed.who(self.at)
        tickets = [bed.links.lose(host, self.percent) for host in hosts]
        text = f"{self.percent} % loss at {' '.join(hosts)}"
        return Injection(
            text, tuple(hosts), lambda: self._bites(bed, hosts), lifting(bed.links, tickets), lambda: _none(bed, hosts)
        )

    def _bites(self, bed: Bed, hosts: list[str]) -> str:
        """At every one of them, and as much as was asked for."""
        seen = []
        for host, (lost, sent) in _counted(bed, hosts, _TRIES).items():
            least, most = rate_bounds(sent, self.percent / 100)
            if not least <= lost <= most:
                raise NotBiting(f"of {sent} datagrams to {host} {lost} were lost; {self.percent} % would be {least} to {most}")
            seen.append(f"{lost} of {sent} datagrams to {host} lost")
        return ", ".join(seen)


def rate_bounds(sent: int, share: float) -> tuple[int, int]:
    """Between how many of so many are lost at that rate, but for one time in ten thousand or less. At least one always is."""
    spread = _SIGMAS * math.sqrt(sent * share * (1.0 - share))
    return max(1, math.floor(sent * share - spread)), math.ceil(sent * share + spread)


def _none(bed: Bed, hosts: list[str]) -> str:
    for host, (lost, sent) in _counted(bed, hosts, _FEW).items():
        if lost:
            raise NotHealed(f"of {sent} datagrams to {host} {lost} are still lost")
    return f"every one of {_FEW} datagrams to {' '.join(hosts)} arrives"


def _counted(bed: Bed, hosts: list[str], count: int) -> dict[str, tuple[int, int]]:
    """By host, side by side: how many were lost, and how many were sent."""
    sources = {host: bed.store_hosts[0] if host not in bed.store_hosts else bed.pods[0].host for host in hosts}
    with ThreadPoolExecutor(len(hosts)) as pool:
        return dict(zip(hosts, pool.map(lambda host: bed.links.ping_loss(sources[host], host, count), hosts), strict=True))


class Reset(msgspec.Struct, frozen=True, tag="reset", tag_field="fault", forbid_unknown_fields=True):
    """Whatever TCP reaches `at` from other hosts is answered with a reset: connections break, and none can be made."""

    at: str

    def inject(self, bed: Bed) -> Injection:
        """Reset from now on."""
        hosts = bed.who(self.at)
        tickets = [bed.links.reset(host) for host in hosts]
        text = f"connections of {' '.join(hosts)} reset"
        severs = by_cut(hosts, bed.store_hosts, False, bed.store_hosts, bed.reach)
        gone = probed(
            lambda: all(_reaches(bed, host) for host in hosts),
            _HEALED_S,
            "connections can be made",
            f"{' '.join(hosts)} still cannot be reached",
        )
        return Injection(text, tuple(hosts), lambda: self._bites(bed, hosts), lifting(bed.links, tickets), gone, severs)

    def _bites(self, bed: Bed, hosts: list[str]) -> str:
        reached = [host for host in hosts if _reaches(bed, host)]
        if reached:
            raise NotBiting(f"{' '.join(reached)} can still be reached")
        return "no connection can be made"


def _reaches(bed: Bed, host: str) -> bool:
    here, there = (host, bed.store_hosts[0]) if host not in bed.store_hosts else (bed.pods[0].host, host)
    return bed.links.reaches(here, there, bed.port(there), 0.3)
