"""A queue position that does not move: whoever is first has not claimed, and still has not a while later.

One look cannot tell it from a hand-over that is under way. So each election is looked at once, and those whose first has claimed
nothing are looked at once more, all of them after one and the same pause; where there are none, nothing is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from leaderd.doctor.findings import Finding, Patient, Report
from leaderd.election.history import read_history
from leaderd.election.records import Record

_LEAST_S, _PAUSE_S = 2.0, 5.0
_RENEWED_S = 1.2
"""An end that moved by more than this was put off: etcd tells whole seconds, so an end may seem to move by one."""
_OTHERS = "leaderd's standbys are behind it, as they should be while its owner is at work: it leads without leaderd's mark"


@dataclass(frozen=True, slots=True)
class Head:
    """Who is first in an election's queue (in Consul: holds the lock), and the highest token that was ever claimed.

    `entry`: what its place hangs on, `key app/jobs/7f`; `remove`: how that is taken away; `holder`: how its process is found;
    `begun`: the highest token whose term is in the history, in stores where a mark may be raised beforehand, if there is one;
    `until_s`: when its lease ends unless it is renewed, where the store tells; `other`: what shows that it is not leaderd's;
    `mistaken`: which tools' entries look like leaderd's in this store.
    """

    where: str
    name: str
    entry: str
    token: int
    mark: int
    remove: str
    holder: str
    begun: int | None = None
    until_s: float | None = None
    other: str = ""
    mistaken: str = ""

    @property
    def claimed(self) -> bool:
        """Whether it leads as leaderd does, or did.

        The mark alone does not tell it of one that was next in line: it was raised to its token beforehand, by itself, and that it
        leads is said there a moment later, if at all. But who has led puts its term on record within a moment.
        """
        return self.token <= self.mark and (self.begun is None or self.token <= self.begun)


class Look(NamedTuple):
    """What one look at an election found: what is wrong, and who is first, if anybody is whose claim can be told."""

    findings: list[Finding]
    head: Head | None = None


def pause_s(ttl_s: float) -> float:
    """How long after the first look the second one is: long enough for any claim, for a lease that is kept to be renewed, and for
    who has begun to lead to say so in the history."""
    return min(max(ttl_s / 2, _LEAST_S), _PAUSE_S)


def unmoved(first: Head, second: Head | None, apart_s: float) -> list[Finding]:
    """What two looks at one queue mean, so many seconds apart."""
    if first.claimed or second is None or second.claimed or second.token != first.token:
        return []
    who = f"{repr(first.name) if first.name else 'somebody'} ({first.entry}, token {first.token})"
    what = f"{who} has been first for {apart_s:.1f} s at least, and "
    if second.token > second.mark:
        what += f"has not claimed: the highest token claimed is {second.mark}"
    else:
        what += f"was ready to lead, but has not begun: the last term on record is that of token {second.begun}"
    if first.other:
        remedy = "nothing, if that tool is meant to take turns with leaderd here; otherwise give it, or the election, another place"
        return [Finding("queue-unmoved", first.where, f"{what}; it is another tool's: {first.other}", _OTHERS, remedy, note=True)]
    why = "it does not lead, and nobody behind it can: a daemon that is unable to, or a dead one whose place somebody keeps"
    remedy = f"see `leaderd status` and the log of {first.name!r}; {first.holder}; when its process is gone, {first.remove}"
    if first.until_s is not None and second.until_s is not None:
        if second.until_s - first.until_s > _RENEWED_S:
            what += "; its lease was renewed meanwhile"
        else:
            what += "; no renewal of its lease was seen"
            why += ". If nobody renews the lease, the place ends with it"
    if first.mistaken:
        why += f". Or it belongs to {first.mistaken}, which leads without leaderd's mark: then all is as it should be"
        remedy += "; if such a tool leads here, `--accept queue-unmoved`"
    return [Finding("queue-unmoved", first.where, what, why, remedy)]


def begun(history: bytes | None) -> int | None:
    """The highest token whose term is in a record of the history; None where there is none."""
    return max((term.token for term in read_history(Record(history, 0))), default=None)


async def examine_queues(patient: Patient, report: Report, look: Callable[[str], Awaitable[Look]]) -> None:
    """Look at every election, and again at those whose first has not claimed."""
    waiting: list[tuple[str, Head, float]] = []
    for election in patient.elections:
        found, head = await look(election)
        report.findings += found
        if head is not None and not head.claimed:
            waiting.append((election, head, patient.now_s()))
    if not waiting:
        return
    await asyncio.sleep(pause_s(patient.timing.ttl_s))
    again_s = patient.now_s()
    looks = await asyncio.gather(*(look(election) for election, _, _ in waiting))
    for (_, first, seen_s), (found, second) in zip(waiting, looks, strict=True):
        report.findings += unmoved(first, second, again_s - seen_s)
        report.findings += [each for each in found if each.check == "endpoint"]  # the store went away meanwhile
