"""One candidate of a case: a driver, its epochs, and what it has told."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

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
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, StoreAddress
from leaderd.stores.base import Identity
from tests.contract.wires import Wire

if TYPE_CHECKING:
    from tests.contract.harness import Bench

E = TypeVar("E")


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

    def find(self, kind: type[E], /, **fields: Any) -> E | None:
        """The oldest event of this kind and with these fields that no `expect` has consumed."""
        for event in self.news:
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items()):
                return event
        return None

    async def expect(self, kind: type[E], /, *, within_s: float | None = None, **fields: Any) -> E:
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

    async def never(self, kind: type[Any], /, *, for_s: float, **fields: Any) -> None:
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
