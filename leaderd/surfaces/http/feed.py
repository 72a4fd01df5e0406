"""Server-Sent Events: what changes is written to every subscriber in the loop's next turn, with no task or queue for any of them.

Rule 1: every event is rendered when it is written, so what it says about validity is of that instant (I7); nothing waits in a
queue of ours. A subscriber that does not read is passed over, and gets one fresh `state` when it reads again: the latest wins.
Rule 2: a broken stream means nothing; who hears no `tick` for ttl/3 treats what it knows as ending at the deadline it was told.
Rule 3: an event heard late by `Last-Event-ID` tells what happened, never who may act: it carries no validity.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from leaderd.election.events import Contender
from leaderd.election.pause import Pause
from leaderd.election.state import ElectionView, State
from leaderd.surfaces.http.reply import encode_json
from leaderd.surfaces.http.stream import Sink
from leaderd.surfaces.view import Body, View

STUCK_S = 30.0
"""For how long a subscriber may not read before it is given up."""
_REMEMBERED = 256
_LEADING = frozenset({State.LEADER, State.SUSPENDED})


@dataclass(slots=True)
class Gist:
    """What of an election is news when it changes."""

    index: int
    state: State
    leader: str | None
    queue: tuple[Contender, ...]
    pause: Pause | None


class Subscriber:
    """One stream: of one election, or of all; with the promise that its yeses are to carry; and since which event."""

    __slots__ = ("_feed", "election", "promise_s", "since", "sink", "stuck", "stuck_since_s")

    def __init__(self, feed: Feed, election: str | None, promise_s: float, since: str | None) -> None:
        self._feed = feed
        self.sink: Sink | None = None
        self.election = election
        self.promise_s = promise_s
        self.since = since
        self.stuck = False
        self.stuck_since_s = 0.0

    def wants(self, election: str) -> bool:
        """Whether an election's events are for it."""
        return self.election is None or self.election == election

    def write(self, data: bytes) -> None:
        """Send to its peer."""
        if self.sink is not None:
            self.sink.write(data)

    # ---- as a `Stream`

    def open(self, sink: Sink) -> None:
        """Hear how things stand, and what happens from now on."""
        self.sink = sink
        self._feed.add(self)

    def paused(self) -> None:
        """Its buffer is full."""
        self._feed.paused(self)

    def resumed(self) -> None:
        """It reads again."""
        self._feed.resumed(self)

    def gone(self, by_peer: bool) -> None:
        """It has gone."""
        self._feed.remove(self)


class Feed:
    """All subscribers of one daemon. `now_s`: the boot clock."""

    def __init__(self, view: View, now_s: Callable[[], float]) -> None:
        self._view = view
        self._now_s = now_s
        self._tick_s = view.tick_s
        self._subscribers: set[Subscriber] = set()
        self._gists = self._look()
        self._connected = view.board.snapshot.connected
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._past: deque[tuple[int, str, str, Body]] = deque(maxlen=_REMEMBERED)
        self._publishing = False
        self._ticking: asyncio.TimerHandle | None = None
        self._unsubscribe = view.board.subscribe(self._on_published)

    def __len__(self) -> int:
        return len(self._subscribers)

    def stop(self) -> None:
        """No more events."""
        self._unsubscribe()
        if self._ticking is not None:
            self._ticking.cancel()

    def add(self, subscriber: Subscriber) -> None:
        """Tell a new subscriber how things stand, then what it missed since that event, as far as it is remembered."""
        self._publish_now()  # what has just changed is news to the others, and no news to this one
        self._subscribers.add(subscriber)
        subscriber.write(self._state(subscriber) + self._missed(subscriber, subscriber.since))
        if self._ticking is None:
            self._arm()

    def remove(self, subscriber: Subscriber) -> None:
        """A subscriber has gone."""
        self._subscribers.discard(subscriber)

    def paused(self, subscriber: Subscriber) -> None:
        """Its buffer is full."""
        subscriber.stuck, subscriber.stuck_since_s = True, self._now_s()

    def resumed(self, subscriber: Subscriber) -> None:
        """It reads again: how things stand now is all that it missed."""
        subscriber.stuck = False
        subscriber.write(self._state(subscriber))

    # ---- what happens

    def _on_published(self) -> None:
        # Within the runner's step: only a wake-up, so that what the step asks of the store leaves first.
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._publishing = False
        self._publish_now()

    def _publish_now(self) -> None:
        before, self._gists = self._gists, self._look()
        for name, now in self._gists.items():
            kind = _kind(before[name], now)
            if kind is not None:
                self._tell(kind, name)
        connected, self._connected = self._connected, self._view.board.snapshot.connected
        if connected != self._connected:
            for name in self._gists:
                self._tell("store", name)
        if self._ticking is not None and self._view.tick_s < self._tick_s:
            self._arm()  # a new session, which the store keeps for a shorter time

    def _tell(self, kind: str, name: str) -> None:
        self._number += 1
        facts = self._view.body(self._view.ask(name, promise_s=0.0))
        kept = ("election", "state", "reason", "token", "leader_instance", "index")
        self._past.append((self._number, kind, name, {key: facts[key] for key in kept} | {"replayed": True}))
        self._write(kind, name, f"id: {self._epoch}-{self._number}\n")

    def _tick(self) -> None:
        self._ticking = None
        now_s = self._now_s()
        for subscriber in [each for each in self._subscribers if each.stuck and now_s - each.stuck_since_s > STUCK_S]:
            self._subscribers.discard(subscriber)
            if subscriber.sink is not None:
                subscriber.sink.abort()
        for name in self._gists:
            self._write("tick", name, "")
        if self._subscribers:
            self._arm()

    def _arm(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        self._tick_s = self._view.tick_s
        self._ticking = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _write(self, kind: str, name: str, identity: str) -> None:
        rendered: dict[float, bytes] = {}
        for subscriber in tuple(self._subscribers):
            if subscriber.stuck or not subscriber.wants(name):
                continue
            data = rendered.get(subscriber.promise_s)
            if data is None:
                data = rendered[subscriber.promise_s] = self._render(kind, name, subscriber.promise_s, identity)
            subscriber.write(data)

    # ---- words

    def _look(self) -> dict[str, Gist]:
        now_s = self._now_s()
        return {name: _gist(view, now_s) for name, view in self._view.board.snapshot.elections.items()}

    def _state(self, subscriber: Subscriber) -> bytes:
        identity = f"id: {self._epoch}-{self._number}\n"
        names = [name for name in self._gists if subscriber.wants(name)]
        return b"".join(self._render("state", name, subscriber.promise_s, identity) for name in names)

    def _missed(self, subscriber: Subscriber, since: str | None) -> bytes:
        epoch, _, number = (since or "").partition("-")
        if epoch != self._epoch or not number.isdecimal():
            return b""
        missed = [past for past in self._past if past[0] > int(number) and subscriber.wants(past[2])]
        return b"".join(sse(kind, f"id: {self._epoch}-{at}\n", facts) for at, kind, _, facts in missed)

    def _render(self, kind: str, name: str, promise_s: float, identity: str) -> bytes:
        # No await from here to the write: the promise that is given counts from now.
        return sse(kind, identity, self._view.body(self._view.ask(name, promise_s=promise_s)))


def sse(kind: str, identity: str, body: Body) -> bytes:
    """One event on the wire; `identity` is its complete `id` line, or empty."""
    return f"{identity}event: {kind}\ndata: ".encode("ascii") + encode_json(body) + b"\n\n"


def _gist(view: ElectionView, now_s: float) -> Gist:
    return Gist(view.index, view.state_at(now_s), view.leader, view.contenders, view.pause)


def _kind(before: Gist, now: Gist) -> str | None:
    """What to call the change, or None if there is none."""
    if before.index == now.index and before.state == now.state:
        if before.pause != now.pause:
            return "paused"  # for another reason, or for longer
        return "queue" if before.queue != now.queue else None
    if (now.state in _LEADING) != (before.state in _LEADING):
        return "acquired" if now.state in _LEADING else "lost"
    if (now.state is State.PAUSED) != (before.state is State.PAUSED):
        return "paused"
    return "leader_changed" if now.leader != before.leader else "state"
