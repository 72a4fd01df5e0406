"""The network between hosts and store nodes: delay, loss, one-way cuts, and messages held back until a cut heals.

A blocked link either drops a message or keeps it until it heals: that is what TCP does, whose retransmissions arrive seconds
after the call they belong to was given up. So a late request can be executed, and a late reply can arrive, at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sim.world import World

Link = tuple[str, str]


class Network:
    """Links are pairs of names, one direction each."""

    def __init__(self, world: World, *, base_s: float, jitter_s: float, ordered: bool) -> None:
        self._world = world
        self._base_s = base_s
        self._jitter_s = jitter_s
        self._ordered = ordered
        self._last_s: dict[Link, float] = {}
        self._blocked: dict[Link, list[tuple[float, float]]] = {}
        self._slow: dict[Link, tuple[float, float]] = {}
        self._lossy: dict[Link, tuple[float, float]] = {}

    def block(self, link: Link, until_s: float, keep: float) -> None:
        """Let nothing through `link` until `until_s`; the share `keep` of what is sent meanwhile arrives afterwards."""
        self._blocked.setdefault(link, []).append((until_s, keep))

    def unblock(self, link: Link) -> None:
        """Let everything through `link` again."""
        self._blocked.pop(link, None)

    def slow_down(self, link: Link, until_s: float, by_s: float) -> None:
        """Delay each message by up to `by_s`, each on its own: they overtake each other."""
        self._slow[link] = (until_s, by_s)

    def lose(self, link: Link, until_s: float, share: float) -> None:
        """Drop the share of messages."""
        self._lossy[link] = (until_s, share)

    def heal(self) -> None:
        """End every disturbance now; what was kept arrives when it was to arrive."""
        self._blocked.clear()
        self._slow.clear()
        self._lossy.clear()

    def send(self, source: str, target: str, deliver: Callable[..., None], *args: Any) -> None:
        """Have `deliver(*args)` called when the message arrives, if it does."""
        world = self._world
        rng = world.rng
        at_s = world.now_s + self._base_s + rng.random() * self._jitter_s
        if self._blocked or self._slow or self._lossy:
            disturbed_s = self._disturbed((source, target), at_s)
            if disturbed_s is None:
                return
            at_s = disturbed_s
        if self._ordered:
            at_s = self._last_s[source, target] = max(at_s, self._last_s.get((source, target), 0.0))
        world.at(at_s, deliver, *args)

    def open(self, source: str, target: str) -> bool:
        """Whether a message sent now would get through at once."""
        now_s = self._world.now_s
        return not any(until_s > now_s for until_s, _ in self._blocked.get((source, target), ()))

    def _disturbed(self, link: Link, at_s: float) -> float | None:
        world = self._world
        cuts = [cut for cut in self._blocked.get(link, ()) if cut[0] > world.now_s]
        if cuts:
            until_s, keep = max(cuts)
            if world.rng.random() >= keep:
                return None
            at_s = until_s + world.rng.random() * 2.0
        lossy = self._lossy.get(link)
        if lossy is not None and lossy[0] > world.now_s and world.rng.random() < lossy[1]:
            return None
        slow = self._slow.get(link)
        if slow is not None and slow[0] > world.now_s:
            at_s += world.rng.random() * slow[1]
        return at_s
