"""Who can have no renewal confirmed any more, whatever it tries: pure reckoning on hosts and who knows which of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Reach = Mapping[str, Collection[str]]
"""By pod host, the store hosts that it knows."""


def by_cut(
    ours: Collection[str], theirs: Collection[str], both_ways: bool, stores: Collection[str], reach: Reach
) -> tuple[str, ...]:
    """By a cut between two groups: pods from every node they know; or the only nodes they know from the store's majority.

    One way is enough between a pod and the store, for a renewal is a question and an answer. Among the store's own nodes it is left
    open what they make of it.
    """
    sides = ((ours, theirs), (theirs, ours))
    found = {pod for pod, known in reach.items() for here, there in sides if pod in here and _in(known, there)}
    if both_ways and set(ours) | set(theirs) == set(stores):
        for side in (ours, theirs):
            found |= set(by_loss(stores, side, reach)) if _few(side, stores) else set()
    return tuple(sorted(found))


def by_loss(stores: Collection[str], without: Collection[str], reach: Reach) -> tuple[str, ...]:
    """By nodes that are dead, frozen or alone: everybody, where no majority is left; else those who know no other."""
    left = set(stores) - set(without)
    return tuple(sorted(pod for pod, known in reach.items() if _few(left, stores) or _in(known, without)))


def _in(known: Collection[str], group: Collection[str]) -> bool:
    return set(known) <= set(group)


def _few(side: Collection[str], stores: Collection[str]) -> bool:
    return 2 * len(set(side)) <= len(set(stores))
