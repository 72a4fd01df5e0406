"""The contract between the core and a store: seven commands in, events out. Every driver is held to it by `tests/contract`.

A driver turns a command into wire calls and wire answers into events. It decides nothing: not who leads, not when to try again,
not how long an answer is valid. What it must guarantee:

1. `submit` never blocks, never raises, and never delivers an event before it returns (the runner queues, but do not rely on it).
2. Every command is answered as `leaderd/election/commands.py` says, within a bound of the driver's own (per-call deadlines,
   about ttl/6), whatever the network does. An outcome it cannot know is `Outcome.UNKNOWN`.
   Exception, ZooKeeper: an outstanding `Renew` may stay unanswered for as long as the connection is silent.
3. `sent_at_s` is read from the clock immediately before the first request of the command is sent, never later.
4. `Renewed` means: the session was renewed AND every entry in `owned` was proven by a quorum read or write, both sent at or after
   `sent_at_s`. A node that cannot prove it belongs to the quorum gives `RenewFailed` with `Reason.STALE_STORE_NODE`.
5. Entries are owned by session, never by instance name. Deletes compare session and token.
6. While the transport is down the driver goes on by itself only with what the core has asked for; it never re-creates a session.
   It reconnects within the current session, or reports `Disconnected`, and fails commands.
7. An operator's revocation of the session or deletion of the entry is reported (`SessionGone`, `EntryGone`) within 1 s.
8. After `CloseSession(epoch)` no event of that epoch is delivered; late replies are dropped, their watches stopped.
9. Several elections are stood in at once over the one session.
10. Secrets appear in no event, log line or `repr`. A driver logs nothing per call; problems travel in events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from leaderd.election.commands import Command
from leaderd.election.events import Event
from leaderd.election.timing import StoreRule

Sink = Callable[[Event], None]
NowS = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are in the store: the instance name shown to others, and the incarnation drawn anew by every process."""

    instance: str
    incarnation: str


@dataclass(slots=True)
class Traffic:
    """Counts of requests sent to the store, and when it last answered; read by metrics, written by the driver."""

    requests: int = 0
    last_answer_s: float | None = None


class Store(Protocol):
    """One store, as the runner sees it."""

    kind: str
    """`local`, `zookeeper`, `etcd` or `consul`."""
    rule: StoreRule
    """What this store guarantees about its sessions; the deadline arithmetic reads it."""
    traffic: Traffic
    on_crash: Callable[[BaseException], None]
    """Called with an exception that the driver did not expect; the daemon ends leadership first, then itself (I11)."""

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands; events go to `sink`, on the event loop's thread. Does not need the store to be up."""

    def submit(self, command: Command) -> None:
        """Carry out one command; its outcome arrives at the sink later."""

    async def aclose(self) -> None:
        """Stop everything that runs, answer nothing more. Does not revoke the session: `CloseSession` does."""
