"""A transfer: leadership on its way to a named candidate. All others step aside until it leads, or until the record lapses.

The leader writes the record and goes on leading. Whoever sees it, and is neither the leader who wrote it nor the target, takes its
entry out and stays out. When nobody is left before the target, the leader resigns as it always does, promises kept; so a transfer
adds nothing by which two could lead. The target, once it leads, says so in the record: everybody stands again, and the old leader
hears of it. If anybody dies on the way, the record lapses.

Where the leader cannot see who waits (Consul shows the holder of the lock only), the record asks the target to answer in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderd.election.events import Contender
from leaderd.election.records import Record, decoded, encoded, instant_in, text_in, token_in


@dataclass(frozen=True, slots=True)
class Transfer:
    """To whom, from the term with which token, and until when (seconds since the epoch) others stay out of the way.

    `taken`: the token with which the target leads; the transfer is done then.
    """

    to: str
    token: int
    until_s: float
    taken: int | None = None
    asks: bool = False
    """Whether the target, if it stands, is to answer by turning this off and `stands` on."""
    stands: bool = False

    def under_way(self, wall_s: float) -> bool:
        """Whether others are to stay out of the way."""
        return self.taken is None and wall_s < self.until_s


def read_transfer(record: Record) -> Transfer | None:
    """The transfer in a record; None if there is none, or none that can be read: nobody steps aside for that."""
    document = decoded(record.value)
    if document is None:
        return None
    to, token, until_s = text_in(document, "to"), token_in(document, "token"), instant_in(document, "until")
    if not to or token is None or until_s is None:
        return None
    taken, asks, stands = token_in(document, "taken"), document.get("asks") is True, document.get("stands") is True
    return Transfer(to, token, until_s, taken, asks, stands)


def transfer_bytes(transfer: Transfer) -> bytes:
    """The record of a transfer."""
    document: dict[str, object] = {"to": transfer.to, "token": transfer.token, "until": transfer.until_s}
    optional = {"taken": transfer.taken, "asks": transfer.asks, "stands": transfer.stands}
    return encoded(document | {name: value for name, value in optional.items() if value})


def in_the_way(to: str, contenders: Sequence[Contender]) -> list[str] | None:
    """Who would come before `to` when the leader gives up; None if `to` does not stand.

    Where there is no queue (a waiter's token is not known before it acquires), that is everybody else.
    """
    others = [contender for contender in contenders if not contender.own]
    target = next((contender for contender in others if contender.instance == to), None)
    if target is None:
        return None
    if target.token is None:
        return [contender.instance for contender in others if contender.instance != to]
    return [contender.instance for contender in others[: others.index(target)]]
