"""What a scenario wants to be set up: how many of what, and what is peculiar about them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

CONNECTED = frozenset({"connected-node", "unconnected-nodes"})
"""Roles that ask the kernel whom the leading daemon is connected to."""


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many of what. `attach`: each pod knows `all` store nodes, or only `one` of them; then `first` says which the first pod,
    which will lead, is attached to: the `store-leader` or a `store-follower`. `via`: with `proxy`, each pod reaches the store
    through a proxy of its own, for toxics. `apps: none`: no app beside a daemon, for herds.

    `names: dns`: the pods know the store nodes by name, of a name server that can be broken. `disk: small`: each store node has a
    disk of its own that can be filled. `identity: same`: all daemons call themselves the same. `clock: faked`: the daemons' clocks
    can be changed; `app_clock: other`: the apps' clocks began to count at another instant, as in another container.
    """

    store_nodes: Literal[1, 3, 5] = 3
    candidates: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    ttl: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m)$")] = "3s"
    attach: Literal["all", "one"] = "all"
    first: Literal["any", "store-leader", "store-follower"] = "any"
    via: Literal["", "proxy"] = ""
    apps: Literal["each", "none"] = "each"
    names: Literal["none", "dns"] = "none"
    disk: Literal["any", "small"] = "any"
    identity: Literal["own", "same"] = "own"
    clock: Literal["own", "faked"] = "own"
    app_clock: Literal["same", "other"] = "same"


def needs_network(topology: Topology) -> str | None:
    """What of it needs namespaces of the run's own, or None if nothing does."""
    wants = {"a name server": topology.names != "none", "disks of its own": topology.disk != "any"}
    return next((what for what, wanted in wants.items() if wanted), None)
