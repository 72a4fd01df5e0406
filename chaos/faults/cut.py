"""Cut: packets between two groups of hosts vanish, both ways or one. The rest of the network stays whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, lifting, probed
from chaos.severed import by_cut, by_loss

_HEALED_S = 20.0


class Cut(msgspec.Struct, frozen=True, tag="cut", tag_field="fault", forbid_unknown_fields=True):
    """`from` and `to` are roles or hosts. `one_way`: only what `from` sends to `to` is lost; the answers' way stays open.

    Where both are the same hosts, each is cut from all the others.
    """

    source: str = msgspec.field(name="from")
    to: str
    one_way: bool = False

    def inject(self, bed: Bed) -> Injection:
        """Cut those who play the parts now."""
        ours = bed.who(self.source)
        theirs = [host for host in bed.who(self.to) if host not in ours]
        if not theirs:
            return self._apart(bed, ours)
        tickets = [bed.links.block(ours, theirs)]
        if not self.one_way:
            tickets.append(bed.links.block(theirs, ours))
        arrow = "to" if self.one_way else "from"
        text = f"{' '.join(ours)} cut {arrow} {' '.join(theirs)}"
        severs = by_cut(ours, theirs, not self.one_way, bed.store_hosts, bed.reach)
        return _injection(bed, text, tuple(ours), list(product(ours, theirs)), tickets, severs)

    def _apart(self, bed: Bed, hosts: list[str]) -> Injection:
        tickets = [bed.links.block([host], [other for other in hosts if other != host]) for host in hosts]
        severs = by_loss(bed.store_hosts, hosts, bed.reach)
        text = f"{' '.join(hosts)} cut from each other"
        return _injection(bed, text, tuple(hosts), list(combinations(hosts, 2)), tickets, severs)


Pairs = Sequence[tuple[str, str]]


def _injection(
    bed: Bed, text: str, targets: tuple[str, ...], pairs: Pairs, tickets: Sequence[int], severs: tuple[str, ...]
) -> Injection:
    def bites() -> str:
        for source, target in pairs:
            if _connects(bed, source, target, 0.3):
                raise NotBiting(f"{source} and {target} still reach each other")
        return "no connection between them can be made"

    gone = probed(
        lambda: all(_connects(bed, *pair, 1.0) for pair in pairs),
        _HEALED_S,
        "connections between them can be made",
        f"not healed, {text}: not all of them reach each other",
    )
    return Injection(text, targets, bites, lifting(bed.links, tickets), gone, severs)


def _connects(bed: Bed, source: str, target: str, within_s: float) -> bool:
    # TCP needs both ways, so one probe tells for either direction; it goes to whichever side has a port that listens.
    here, there = (source, target) if target in bed.store_hosts else (target, source)
    return bed.links.reaches(here, there, bed.port(there), within_s)
