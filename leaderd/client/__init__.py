"""What apps import. Standard library only, and nothing of the rest of leaderd.

::

    from leaderd.client import Leader

    leader = Leader("billing")
    if leader.is_leader():          # a look at the mapped lease, well under a microsecond; true until the deadline at the latest
        ...
    term = leader.require("30s")    # a promise by the daemon: nobody else leads for 30 seconds
    write(order, fence=term.token)
    with leader.guard("5s") as term:    # the same for work in flight: a hand-over waits for the block, five seconds at most
        ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaderd.client.errors import DaemonUnreachable, LeaderdError, NotLeader
from leaderd.client.leader import Leader
from leaderd.client.term import Term

if TYPE_CHECKING:
    from leaderd.client.hold import HeldTerm
    from leaderd.client.watch import Change

__all__ = ["Change", "DaemonUnreachable", "HeldTerm", "Leader", "LeaderdError", "NotLeader", "Term"]


def __getattr__(name: str) -> object:
    # What needs threads and JSON is imported by those who use it.
    if name == "Change":
        from leaderd.client.watch import Change

        return Change
    if name == "HeldTerm":
        from leaderd.client.hold import HeldTerm

        return HeldTerm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
