"""File descriptors, and whom they are for: a flood of clients must cost clients, never the way to the store.

The kernel gives out the lowest free number. So who may hold which *numbers* decides who may hold how *many*, nothing is counted::

    0 ............................. limit-320 ........ limit-192 ............. limit
    everything, streams included   │ short requests   │ the reserve: the store, state files, hooks;
                                   │ only             │ of the clients, a few at a time (`Pool.MAX_IN_RESERVE`)

The limit is read whenever it matters: an operator may change it while we run.
"""

from __future__ import annotations

import logging
import resource

from leaderd import log

WANTED = 8192
"""More than all clients together may take (`MAX_CONNECTIONS`, the streams of `places.py`, gRPC's). Not without end: what a hook
starts inherits the limit, and old programs close that many before they begin."""
RESERVE = 192
"""Free for everything that is no client, and for about a hundred clients that have been accepted and not yet been looked at."""
SHORT = 128
"""Free for those who ask and go, whatever streams there are."""
ENOUGH = 2048
"""Below this fewer streams are taken than `places.py` would allow."""

_LOG = logging.getLogger("leaderd")


def raise_limit() -> None:
    """At the start: take what the hard limit allows, as far as it is of use; say so when it is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reach = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < reach:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reach, hard))
        soft = reach
    if soft != resource.RLIM_INFINITY and soft < ENOUGH:
        message = (
            f"may open {soft} files only, so it serves {max(0, soft - RESERVE - SHORT)} streams at most: raise the limit to 4096"
        )
        log.event(_LOG, logging.WARNING, message)


def in_reserve(fd: int) -> bool:
    """Whether a descriptor with this number leaves fewer than `RESERVE` for what is no client."""
    return fd >= _limit() - RESERVE


def too_high_for_a_stream(fd: int) -> bool:
    """Whether streams up to this number would leave fewer than `SHORT` for those who ask and go."""
    return fd >= _limit() - RESERVE - SHORT


def _limit() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
