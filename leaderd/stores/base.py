"""The contract between the core and a store: eight commands in, events out. Every driver is held to it by `tests/contract`.

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

Records: beside each election lie a few small documents (`pause`, `transfer`, `history`), outside of what other clients of the
recipe look at. To a driver they are opaque bytes of at most 64 KiB with a version.

11. In each session all records that exist are read at a quorum and told by `RecordSeen` before the first `Elected` of the session
    is told. A driver that cannot read them tells no `Elected`: it tries again, or fails the standing (a paused election must not be
    led by whoever did not see the pause). A record that the credentials do not let us read must not pass for one that is not there.
12. While the session lives every change is told by `RecordSeen`, also of elections that we do not stand in at the moment, and our
    own; within 1 s where the store answers. In between, changes may be skipped: the latest state is what counts.
13. A version is a number of the driver's choice, above 0 where there is a value. It must never be the same for two different
    values, also when the record was deleted in between (a store that begins anew after a deletion writes an empty value instead of
    deleting, and tells it as None with the version that follows). `WriteRecord` names the version told last, 0 if none was told
    or 0 was.
14. A write is one compare-and-set, never sent twice: after an answer was lost it is UNKNOWN, and the watch will tell.
15. Whatever lies in a record's place, nothing crashes: what a driver cannot read as bytes it tells as `b""`.
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
    keeps_records: bool
    """Whether the driver carries out `WriteRecord` and tells `RecordSeen` (rules 11 to 15)."""
    traffic: Traffic
    on_crash: Callable[[BaseException], None]
    """Called with an exception that the driver did not expect; the daemon ends leadership first, then itself (I11)."""

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands; events go to `sink`, on the event loop's thread. Does not need the store to be up."""

    def submit(self, command: Command) -> None:
        """Carry out one command; its outcome arrives at the sink later."""

    async def aclose(self) -> None:
        """Stop everything that runs, answer nothing more. Does not revoke the session: `CloseSession` does."""
