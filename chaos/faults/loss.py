"""Loss and Reset: packets that reach a host vanish at random, or every TCP segment is answered with a reset."""

from __future__ import annotations

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, lifting

_TRIES = 40


class Loss(msgspec.Struct, frozen=True, tag="loss", tag_field="fault", forbid_unknown_fields=True):
    """`percent` of what reaches `at` (a role or a host) from others is dropped."""

    at: str
    percent: int

    def inject(self, bed: Bed) -> Injection:
        """Drop at random."""
        hosts = bed.who(self.at)
        tickets = [bed.links.lose(host, self.percent) for host in hosts]
        text = f"{self.percent} % loss at {' '.join(hosts)}"
        return Injection(text, tuple(hosts), lambda: self._bites(bed, hosts[0]), lifting(bed.links, tickets))

    def _bites(self, bed: Bed, host: str) -> str:
        lost, sent = bed.links.ping_loss(bed.store_hosts[0] if host not in bed.store_hosts else bed.pods[0].host, host, _TRIES)
        if lost == 0:
            raise NotBiting(f"of {sent} datagrams to {host} none was lost")
        return f"{lost} of {sent} datagrams to {host} lost"


class Reset(msgspec.Struct, frozen=True, tag="reset", tag_field="fault", forbid_unknown_fields=True):
    """Whatever TCP reaches `at` from other hosts is answered with a reset: connections break, and none can be made."""

    at: str

    def inject(self, bed: Bed) -> Injection:
        """Reset from now on."""
        hosts = bed.who(self.at)
        tickets = [bed.links.reset(host) for host in hosts]
        text = f"connections of {' '.join(hosts)} reset"
        return Injection(text, tuple(hosts), lambda: self._bites(bed, hosts[0]), lifting(bed.links, tickets))

    def _bites(self, bed: Bed, host: str) -> str:
        here, there = (host, bed.store_hosts[0]) if host not in bed.store_hosts else (bed.pods[0].host, host)
        if bed.links.reaches(here, there, bed.port(there), 0.3):
            raise NotBiting(f"{here} still reaches {there}")
        return "no connection can be made"
