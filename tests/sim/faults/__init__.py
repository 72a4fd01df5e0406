"""The faults: what can strike a host, the network, the store, and what an operator can do. Each is a few lines on the `Fleet`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tests.sim.faults import hosts, links, operators, servers

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike

Act = Callable[["Fleet", "Strike"], None]


class Kind(NamedTuple):
    """One kind of fault, and where it makes sense."""

    act: Act
    stores: tuple[str, ...] | None = None
    own_kernel: bool = False
    """Needs hosts with kernels of their own."""
    cluster: bool = False
    """Needs a store of several nodes."""
    weight: int = 1
    """How often it is drawn: what only bites at the right instant, or together with others, oftener."""

    def suits(self, store: str, one_clock: bool) -> bool:
        """Whether it can strike this store."""
        if self.stores is not None and store not in self.stores:
            return False
        return not (self.own_kernel and one_clock) and not (self.cluster and store == "local")


KINDS: dict[str, Kind] = {
    "freeze": Kind(hosts.freeze, weight=2),
    "stutter": Kind(hosts.stutter),
    "kill": Kind(hosts.kill),
    "terminate": Kind(hosts.terminate),
    "suspend": Kind(hosts.suspend, own_kernel=True),
    "pause_machine": Kind(hosts.pause_machine, own_kernel=True, weight=2),
    "hiccups": Kind(hosts.hiccups, own_kernel=True, weight=2),
    "stop_in_renewal": Kind(hosts.stop_in_renewal, weight=3),
    "stop_in_opening": Kind(hosts.stop_in_opening, own_kernel=True, weight=2),
    "cut": Kind(links.cut, weight=2),
    "cut_replies": Kind(links.cut_replies, weight=2),
    "cut_requests": Kind(links.cut_requests),
    "cut_node": Kind(links.cut_node, cluster=True),
    "hold_replies": Kind(links.hold_replies),
    "hold_requests": Kind(links.hold_requests),
    "lose": Kind(links.lose),
    "slow": Kind(links.slow),
    "isolate_store_node": Kind(servers.isolate_store_node, cluster=True, weight=3),
    "stuck_leader": Kind(servers.stuck_leader, stores=("etcd", "consul"), weight=2),
    "pause_store_node": Kind(servers.pause_store_node),
    "crash_store_node": Kind(servers.crash_store_node),
    "lose_majority": Kind(servers.lose_majority),
    "silence_then_crash": Kind(servers.silence_then_crash, stores=("zookeeper",), weight=6),
    "change_store_leader": Kind(servers.change_store_leader, cluster=True),
    "forgetful_leader": Kind(servers.forgetful_leader, stores=("consul",), weight=2),
    "invalidate_session": Kind(servers.invalidate_session, stores=("consul",), weight=3),
    "revoke_session": Kind(operators.revoke_session),
    "delete_entry": Kind(operators.delete_entry, weight=2),
    "delete_prefix": Kind(operators.delete_prefix, weight=2),
    "restore_snapshot": Kind(operators.restore_snapshot, weight=2),
    "resign": Kind(operators.resign),
    "late_release": Kind(operators.late_release, weight=3),
    "resign_in_claim": Kind(operators.resign_in_claim, weight=2),
    "hold_in_stand": Kind(operators.hold_in_stand, weight=2),
    "deaf_heir": Kind(operators.deaf_heir, stores=("local", "etcd", "zookeeper"), weight=4),
    "delete_heir": Kind(operators.delete_heir, stores=("local", "etcd", "zookeeper"), weight=2),
}
