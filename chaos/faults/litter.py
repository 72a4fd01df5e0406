"""Litter: somebody's key or node stands in the election's place; Alarm: etcd has run out of its quota and takes no more writes."""

from __future__ import annotations

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.operator import Where
from chaos.substrates import CannotInject
from testbed.etcd import EtcdCluster

_PLACES: dict[Where, str] = {
    "first": "in the place of the leading entry",
    "beside": "beside the entries",
    "place": "where the entries' directory should be",
}


class Litter(msgspec.Struct, frozen=True, tag="litter", tag_field="fault", forbid_unknown_fields=True):
    """`where`: `first` in the place of the entry that leads, under no session, so that it never goes by itself; or `beside` the
    entries, where it is in nobody's way; or in their `place` itself, which is a node of the wrong kind then (ZooKeeper only).

    `size` in bytes, and no more than the store takes. Healing sweeps it away, which is the documented repair.
    """

    where: Where = "first"
    size: int = 20

    def inject(self, bed: Bed) -> Injection:
        """Write it. In the place of the first nobody else may stand, so the scenario has ended all candidates before."""
        operator = bed.operator
        content = b"\xff" * min(self.size, operator.most_bytes)
        operator.litter(self.where, content)
        swept: list[bool] = []

        def bites() -> str:
            found = operator.litter_size(self.where)
            if found != len(content):
                raise NotBiting(f"what was written is not there: {found} bytes")
            return f"{found} bytes of somebody's lie there"

        def heal() -> None:
            if not swept:
                operator.sweep(self.where)
                swept.append(True)

        text = f"{len(content)} bytes of somebody's {_PLACES[self.where]}"
        gone = probed(lambda: operator.litter_size(self.where) is None, 5.0, "it has been swept away", "it still lies there")
        return Injection(text, (), bites, heal, gone)


class Alarm(msgspec.Struct, frozen=True, tag="alarm", tag_field="fault", forbid_unknown_fields=True):
    """etcd raises NOSPACE, as when its quota is used up: it refuses writes and new leases, and goes on keeping those it has."""

    def inject(self, bed: Bed) -> Injection:
        """Raise it at every member, as the member that is full does."""
        cluster = bed.cluster
        if not isinstance(cluster, EtcdCluster):
            raise CannotInject("only etcd has this alarm: give the scenario `stores: [etcd]`")
        cluster.alarm_activate()

        def bites() -> str:
            if cluster.takes_writes():
                raise NotBiting("a write is taken all the same")
            return "a write is refused"

        gone = probed(cluster.takes_writes, 5.0, "a write is taken", "a write is still refused")
        return Injection("etcd is out of space (NOSPACE)", tuple(bed.store_hosts), bites, cluster.alarm_disarm, gone)
