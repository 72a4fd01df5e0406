"""Cut: packets between two groups of hosts vanish, both ways or one. The rest of the network stays whole."""

from __future__ import annotations

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, lifting


class Cut(msgspec.Struct, frozen=True, tag="cut", tag_field="fault", forbid_unknown_fields=True):
    """`from` and `to` are roles or hosts. `one_way`: only what `from` sends to `to` is lost; the answers' way stays open."""

    source: str = msgspec.field(name="from")
    to: str
    one_way: bool = False

    def inject(self, bed: Bed) -> Injection:
        """Cut those who play the parts now."""
        ours = bed.who(self.source)
        theirs = [host for host in bed.who(self.to) if host not in ours]
        tickets = [bed.links.block(ours, theirs)]
        if not self.one_way:
            tickets.append(bed.links.block(theirs, ours))
        arrow = "to" if self.one_way else "from"
        text = f"{' '.join(ours)} cut {arrow} {' '.join(theirs)}"
        return Injection(text, tuple(ours), lambda: self._bites(bed, ours, theirs), lifting(bed.links, tickets))

    def _bites(self, bed: Bed, ours: list[str], theirs: list[str]) -> str:
        # TCP needs both ways, so one probe tells for either direction; it goes to whichever side has a port that listens.
        for source in ours:
            for target in theirs:
                here, there = (source, target) if target in bed.store_hosts else (target, source)
                if bed.links.reaches(here, there, bed.port(there), 0.3):
                    raise NotBiting(f"{here} still reaches {there}")
        return "no connection between them can be made"
