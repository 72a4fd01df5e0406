"""What apps import. Standard library only, and nothing of the rest of leaderd.

::

    from leaderd.client import Leader

    leader = Leader("billing")
    if leader.is_leader():          # a look at the mapped lease, well under a microsecond; true until the deadline at the latest
        ...
    term = leader.require("30s")    # a promise by the daemon: nobody else leads for 30 seconds
    write(order, fence=term.token)
"""

from leaderd.client.errors import DaemonUnreachable, LeaderdError, NotLeader
from leaderd.client.leader import Change, Leader, Term

__all__ = ["Change", "DaemonUnreachable", "Leader", "LeaderdError", "NotLeader", "Term"]
