"""Asks the store, through its own driver: which ttl it grants, and how long renewals take. Opens a session, and closes it again."""

from __future__ import annotations

import asyncio

from leaderd.clock import Clock
from leaderd.election.commands import CloseSession, OpenSession, Renew
from leaderd.election.events import Event, Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from leaderd.planning import Live
from leaderd.stores.base import Store

RENEWALS = 5
LIMIT_S = 10.0


async def probe(store: Store, ttl_s: float, clock: Clock) -> Live | str:
    """What the store said; or, in words, why it said nothing."""
    events: asyncio.Queue[Event] = asyncio.Queue()
    problem: list[BaseException] = []
    store.on_crash = problem.append
    await store.start(events.put_nowait)
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _ask(store, ttl_s, clock, events)
    except TimeoutError:
        return f"no answer within {LIMIT_S:g} s" + (f" ({problem[0]})" if problem else "")
    finally:
        store.submit(CloseSession(1))
        await asyncio.sleep(0.05)  # `CloseSession` is never answered: give the revocation time to leave
        await store.aclose()


async def _ask(store: Store, ttl_s: float, clock: Clock, events: asyncio.Queue[Event]) -> Live | str:
    store.submit(OpenSession(1, ttl_s))
    granted_s = 0.0
    took_s: list[float] = []
    while len(took_s) < RENEWALS:
        event = await events.get()
        match event:
            case SessionOpened():
                granted_s = event.ttl_s
            case Renewed():
                took_s.append(clock.now_s() - event.sent_at_s)
            case SessionFailed() | RenewFailed() | SessionGone():
                return event.problem.detail or event.problem.reason.value
            case _:
                continue
        store.submit(Renew(1, ()))
    return Live(granted_s, tuple(took_s))
