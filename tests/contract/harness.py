"""What a contract case is written against: a `Bench` (one store) and its `Candidate`s (a driver and what it told).

A case never sleeps and never reads a clock; it says `await candidate.expect(Elected, within_s=...)`. All waiting goes through
`Bench.until` and `Bench.pause`, so that a bench in virtual time can run the same cases.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from leaderd.clock import BootClock
from leaderd.election.timing import RULES
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Store
from leaderd.stores.factory import make_store
from tests.contract.candidate import Candidate
from tests.contract.operators import Operator
from tests.contract.wires import Wire


@dataclass(frozen=True)
class Profile:
    """What a case may count on in this store. Durations in seconds, generous enough for a loaded machine."""

    kind: str
    ttl_s: float
    """The shortest ttl that is quick and still safe to work with here."""
    takeover_s: float
    """From the death of a leader to its successor's election, at most."""
    prompt_s: float = 3.0
    """What happens at once happens within this."""
    fifo: bool = True
    network: bool = True
    """Whether there is a connection that can be cut."""
    pings: bool = False
    """Whether the transport keeps the session alive by itself, so that only its silence lets it die."""
    token_when_queued: bool = True
    """Whether the token is known before the election is won."""
    queued_first: bool = True
    """Whether `Queued` comes even where the election is won at once; the simulated Consul says `Elected` only."""


PROFILES = {
    "local": Profile("local", ttl_s=1.0, takeover_s=2.0, network=False),
    # A tick of 500 ms: the session lives for ttl to ttl + tick.
    "zookeeper": Profile("zookeeper", ttl_s=3.0, takeover_s=6.0, pings=True),
    "etcd": Profile("etcd", ttl_s=2.0, takeover_s=5.0),
    # Twice the ttl, then a lock-delay of at least the ttl, then the retry.
    "consul": Profile("consul", ttl_s=2.0, takeover_s=10.0, fifo=False, token_when_queued=False),
}


class Bench:
    """One store, one private corner of it, and the candidates that a case puts there."""

    def __init__(self, variant: str, address: StoreAddress, operator: Operator, wire: Callable[[], Wire]) -> None:
        self.variant = variant
        self.address = address
        self.operator = operator
        self.profile = PROFILES[address.kind]
        self.kind = address.kind
        self._clock = BootClock(jump_limit_s=3600.0)
        self.candidates: list[Any] = []
        self.credentials = Credentials()
        self.restart: Callable[[], Awaitable[None]] | None = None
        self._wire = wire
        self._wires: list[Wire] = []
        self._changed = asyncio.Event()
        self._names = (f"candidate-{n}" for n in itertools.count(1))

    # ---- time

    def now_s(self) -> float:
        """Seconds since boot."""
        return self._clock.now_s()

    def changed(self) -> None:
        """Something happened that a waiting case may want to see."""
        self._changed.set()

    async def until(self, condition: Callable[[], Any], within_s: float, what: str = "the condition", poll_s: float = 0.05) -> Any:
        """Wait until `condition()` is true; fail after `within_s`. Returns what it returned."""
        deadline_s = self.now_s() + within_s
        while not (result := condition()):
            left_s = deadline_s - self.now_s()
            if left_s <= 0:
                raise AssertionError(f"{self.variant}: {what} did not come within {within_s:g} s")
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left_s, poll_s)):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return result

    async def until_operator(self, look: Callable[[], Any], within_s: float, what: str) -> Any:
        """Wait until the operator sees something; `look` is a coroutine function."""
        deadline_s = self.now_s() + within_s
        while not (result := await look()):
            if self.now_s() > deadline_s:
                raise AssertionError(f"{self.variant}: {what} was not seen within {within_s:g} s")
            await self.pause(0.05)
        return result

    async def pause(self, for_s: float) -> None:
        """Let time pass: for cases that show that nothing happens."""
        await asyncio.sleep(for_s)

    def repeat(self, step: Callable[[], None]) -> Callable[[], None]:
        """Call `step` again and again, every 20 ms or so; returns the way to stop it."""

        async def steps() -> None:
            while True:
                step()
                await asyncio.sleep(0.02)

        task = asyncio.create_task(steps())
        return lambda: task.cancel() and None

    # ---- candidates

    def make_store(self, candidate: Candidate) -> Store:
        """The driver under test."""
        return make_store(candidate.address, candidate.identity, candidate.timing, candidate.credentials, Tls(), self.now_s)

    async def wire(self) -> Wire:
        """A way to the store that can be disturbed."""
        wire = self._wire()
        await wire.start()
        self._wires.append(wire)
        return wire

    async def candidate(
        self,
        name: str | None = None,
        *,
        ttl_s: float | None = None,
        wire: Wire | None = None,
        address: StoreAddress | None = None,
        credentials: Credentials | None = None,
        open_session: bool = True,
    ) -> Candidate:
        """A started driver; with an open session unless told otherwise. `wire` puts it behind a disturbable connection."""
        chosen = address or (wire.address(self.address) if wire is not None else self.address)
        candidate = Candidate(
            self, name or next(self._names), chosen, ttl_s or self.profile.ttl_s, credentials or self.credentials, wire
        )
        self.candidates.append(candidate)
        await candidate.start()
        if open_session:
            await candidate.open()
        return candidate

    async def steady(self) -> Candidate:
        """A candidate whose session outlives a case of a few steps without a renewal, however slow the machine."""
        return await self.candidate(ttl_s=6.0)

    async def mortal(self) -> tuple[Candidate, Callable[[], None], Callable[[], None]]:
        """A candidate that is never renewed; a call after which it is not heard of any more, and one after which it is again."""
        if not self.profile.pings:
            return await self.candidate(), lambda: None, lambda: None
        wire = await self.wire()
        return await self.candidate(wire=wire), wire.silence, wire.heal

    def needs_network(self) -> None:
        """Skip the case for a store without a connection."""
        if not self.profile.network:
            pytest.skip("the local store has no connection that could be disturbed")

    def needs_fifo(self) -> None:
        """Skip the case for a store without a queue."""
        if not self.profile.fifo:
            pytest.skip("Consul has no queue: whoever comes first after a release wins")

    async def aclose(self) -> None:
        """Close everything the case left behind."""
        for wire in self._wires:
            wire.heal()
        for candidate in self.candidates:
            await candidate.end()
        for wire in self._wires:
            await wire.aclose()


def valid_for_s(candidate: Candidate) -> float:
    """For how long after the send of its last renewal the candidate's core would lead."""
    return candidate.timing.valid_for_s(RULES[candidate.bench.kind], candidate.granted_s)
