"""What a contract case is written against: a `Bench` (one store) and its `Candidate`s (a driver and what it told).

A case never sleeps and never reads a clock; it says `await candidate.expect(Elected, within_s=...)`. All waiting goes through
`Bench.until` and `Bench.pause`, so that a bench in virtual time can run the same cases.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from leaderd.clock import BootClock
from leaderd.election.commands import Claim, CloseSession, Command, Entry, OpenSession, RaiseMark, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Elected,
    EntryGone,
    Event,
    Queued,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import Identity, Store
from leaderd.stores.factory import make_store
from tests.contract.operators import Operator
from tests.contract.wires import Wire

E = TypeVar("E")


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


@dataclass
class Candidate:
    """A driver, the events it has told that no `expect` has consumed yet, and all of them in order."""

    bench: Bench
    name: str
    address: StoreAddress
    ttl_s: float
    credentials: Credentials
    wire: Wire | None = None
    epoch: int = 0
    news: list[Event] = field(default_factory=list)
    history: list[tuple[float, Event]] = field(default_factory=list)
    granted_s: float = 0.0
    crashes: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timing = Timing(ttl_s=self.ttl_s, renew_every_s=self.ttl_s / 5)
        self.identity = Identity(self.name, secrets.token_hex(8))
        self.store = self.bench.make_store(self)
        self.store.on_crash = self.crashes.append
        self._renewing: Callable[[], None] | None = None
        self._renew_at_s = 0.0
        self._outstanding = False
        self._lost = False
        self._held: dict[str, int | None] = {}
        self._ended = False

    async def start(self) -> None:
        await self.store.start(self._take)

    def _take(self, event: Event) -> None:
        assert not self._ended, f"{event} after aclose"
        self.news.append(event)
        self.history.append((self.bench.now_s(), event))
        match event:
            case Queued() | Elected() | Claimed():
                self._held[event.election] = event.token
            case Withdrawn():
                self._held.pop(event.election, None)
            case Renewed():
                for election in event.lost:
                    self._held.pop(election, None)
            case SessionOpened():
                self.granted_s = event.ttl_s
        if isinstance(event, Renewed | RenewFailed | SessionGone) and event.epoch == self.epoch:
            self._outstanding = False
            self._lost = self._lost or isinstance(event, SessionGone)
        self.bench.changed()

    def submit(self, command: Command) -> None:
        """Give one raw command."""
        before = len(self.history)
        self.store.submit(command)
        assert len(self.history) == before, f"an event was delivered before submit({command}) returned"

    # ---- waiting

    def find(self, kind: type[E], **fields: Any) -> E | None:
        """The oldest event of this kind and with these fields that no `expect` has consumed."""
        for event in self.news:
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items()):
                return event
        return None

    async def expect(self, kind: type[E], *, within_s: float | None = None, **fields: Any) -> E:
        """Wait for an event of this kind and with these fields, and consume it."""
        bound_s = self.bench.profile.prompt_s if within_s is None else within_s
        what = f"{self.name}: {getattr(kind, '__name__', kind)} {fields or ''}"
        try:
            event = await self.bench.until(lambda: self.find(kind, **fields), bound_s, what)
        except AssertionError as failed:
            told = [event for _, event in self.history[-8:]]
            raise AssertionError(f"{failed}; crashes: {self.crashes}; last events: {told}") from None
        self.news.remove(event)
        return event

    async def never(self, kind: type[Any], *, for_s: float, **fields: Any) -> None:
        """Wait and see that no such event comes."""
        await self.bench.pause(for_s)
        assert self.find(kind, **fields) is None, f"{self.name}: {self.find(kind, **fields)} came"

    def forget(self) -> None:
        """Consume all that has been told so far."""
        self.news.clear()

    # ---- what a core would do

    async def open(self, within_s: float | None = None) -> SessionOpened:
        """Open the next session."""
        self.epoch += 1
        self._begin()
        self.submit(OpenSession(self.epoch, self.ttl_s))
        bound_s = within_s or self.bench.profile.prompt_s + 3
        await self.bench.until(
            lambda: self.find(SessionOpened, epoch=self.epoch) or self.find(SessionFailed, epoch=self.epoch),
            bound_s,
            "an open session",
        )
        failed = self.find(SessionFailed, epoch=self.epoch)
        assert failed is None, failed
        return await self.expect(SessionOpened, epoch=self.epoch)

    def _begin(self) -> None:
        self._held.clear()
        self.forget()
        self._outstanding = self._lost = False

    async def open_at_last(self, within_s: float) -> SessionOpened:
        """Open a session, trying again for as long as it fails."""
        deadline_s = self.bench.now_s() + within_s
        while True:
            self.epoch += 1
            self._begin()
            self.submit(OpenSession(self.epoch, self.ttl_s))
            left_s = deadline_s - self.bench.now_s()
            await self.bench.until(
                lambda: self.find(SessionOpened, epoch=self.epoch) or self.find(SessionFailed, epoch=self.epoch),
                left_s,
                "an answer",
            )
            if self.find(SessionOpened, epoch=self.epoch):
                return await self.expect(SessionOpened, epoch=self.epoch)
            self.submit(CloseSession(self.epoch))
            await self.bench.pause(0.2)

    async def stand(self, election: str = "e") -> Queued:
        """Enter the queue."""
        self.submit(Stand(self.epoch, election))
        answers = (Queued, StandFailed) if self.bench.profile.queued_first else (Queued, StandFailed, Elected)
        bound_s = self.bench.profile.prompt_s
        await self.bench.until(lambda: any(self.find(kind, election=election) for kind in answers), bound_s, f"{self.name}: Queued")
        failed = self.find(StandFailed, election=election)
        assert failed is None, failed
        if Elected in answers and self.find(Elected, election=election):
            return self.find(Queued, election=election) or Queued(self.epoch, election, None)
        return await self.expect(Queued, election=election, epoch=self.epoch)

    async def win(self, election: str = "e", *, within_s: float | None = None) -> Claimed:
        """Wait to be elected, and claim, as often as the mark moves."""
        bound_s = self.bench.profile.prompt_s if within_s is None else within_s
        elected = await self.expect(Elected, election=election, epoch=self.epoch, within_s=bound_s)
        for _ in range(5):
            assert elected.token > elected.mark, elected
            self.submit(Claim(self.epoch, election, elected.token, elected.mark))
            await self.bench.until(
                lambda: any(
                    self.find(kind, election=election, epoch=self.epoch) for kind in (Claimed, Elected, StandFailed, EntryGone)
                ),
                self.bench.profile.prompt_s,
                f"{self.name}: Claimed",
            )
            if self.find(Claimed, election=election, epoch=self.epoch):
                return await self.expect(Claimed, election=election, epoch=self.epoch)
            elected = await self.expect(Elected, election=election, epoch=self.epoch)
        raise AssertionError(f"{self.name}: the mark would not stand still")

    async def lead(self, election: str = "e", *, within_s: float | None = None) -> Claimed:
        """Stand, wait to be elected, claim."""
        await self.stand(election)
        return await self.win(election, within_s=within_s)

    async def renew(self, *entries: Entry) -> Renewed:
        """Renew once, asking about `entries`."""
        self.submit(Renew(self.epoch, entries))
        return await self.expect(Renewed, epoch=self.epoch)

    async def renew_once(self) -> Renewed:
        """Stop renewing by itself, and renew once more, asking about all entries."""
        self.stop_renewing()
        await self.bench.pause(0.3)  # an answer may be on its way
        self.news = [event for event in self.news if not isinstance(event, Renewed)]
        return await self.renew(*self.entries())

    async def withdraw(self, election: str = "e", token: int | None = None) -> Withdrawn:
        """Leave the election."""
        self.submit(Withdraw(self.epoch, election, token))
        return await self.expect(Withdrawn, election=election, epoch=self.epoch)

    async def withdraw_within(self, election: str, token: int | None, within_s: float) -> Withdrawn:
        """Leave the election, through a way that may be slow."""
        self.submit(Withdraw(self.epoch, election, token))
        return await self.expect(Withdrawn, election=election, epoch=self.epoch, within_s=within_s)

    def raise_mark(self, election: str, mark: int) -> None:
        """Raise the high-water mark."""
        self.submit(RaiseMark(self.epoch, election, mark))

    def entries(self) -> tuple[Entry, ...]:
        """Our entries of which a renewal asks: those with a known token."""
        return tuple(Entry(election, token) for election, token in self._held.items() if token is not None)

    def keep_renewing(self) -> None:
        """Renew as a core does, until closed, crashed or told to stop; at most one renewal is outstanding."""
        self.stop_renewing()
        self._renewing = self.bench.repeat(self._renew_if_due)

    def stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing()
            self._renewing = None

    def _renew_if_due(self) -> None:
        if not self._outstanding and not self._lost and self.bench.now_s() >= self._renew_at_s:
            self._renew_at_s = self.bench.now_s() + self.ttl_s / 5
            self._outstanding = True
            self.store.submit(Renew(self.epoch, self.entries()))

    async def close(self) -> None:
        """Close the session, as a core does when it is done with it."""
        self.stop_renewing()
        self.submit(CloseSession(self.epoch))

    async def abandon(self) -> None:
        """Die without a word: what SIGKILL leaves behind in the store."""
        self.stop_renewing()
        await self.store.aclose()
        self._ended = True

    async def end(self) -> None:
        """Tidy up at the end of a case."""
        self.stop_renewing()
        if not self._ended:
            self.store.submit(CloseSession(self.epoch))
            await self.store.aclose()
            self._ended = True
        assert not self.crashes, self.crashes


def valid_for_s(candidate: Candidate) -> float:
    """For how long after the send of its last renewal the candidate's core would lead."""
    return candidate.timing.valid_for_s(RULES[candidate.bench.kind], candidate.granted_s)
