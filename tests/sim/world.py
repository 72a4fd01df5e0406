"""Virtual time: one heap of things to happen, one seeded source of chance, one digest of everything that happened."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

_PACK = struct.Struct("<dq").pack


class World:
    """True time in seconds from 0. Nothing here, nor in anything run by it, may look at a real clock or at `hash()`."""

    def __init__(self, seed: int, trace: int | None = 400) -> None:
        self.now_s = 0.0
        self.rng = Random(seed)
        self.digest = 0
        self.steps = 0
        self.verbose = trace is None
        """Whether every message is to be kept in the timeline, not just what matters."""
        self.timeline: deque[tuple[float, str, tuple[Any, ...]]] = deque(maxlen=trace)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def at(self, at_s: float, what: Callable[..., None], *args: Any) -> None:
        """Do `what(*args)` at true time `at_s`; in order of the calls where times are equal."""
        self._order += 1
        heappush(self._heap, (max(self.now_s, at_s), self._order, what, args))

    def after(self, delay_s: float, what: Callable[..., None], *args: Any) -> None:
        """Do `what(*args)` in `delay_s`."""
        self._order += 1
        heappush(self._heap, (self.now_s + delay_s, self._order, what, args))

    def run(self, until_s: float) -> None:
        """Let time pass until `until_s`."""
        heap, digest = self._heap, self.digest
        while heap and heap[0][0] <= until_s:
            at_s, order, what, args = heappop(heap)
            self.now_s = at_s
            digest = zlib.crc32(_PACK(at_s, order), digest)
            what(*args)
        self.steps = self._order
        self.now_s = until_s
        self.digest = digest

    def note(self, text: str, *args: Any) -> None:
        """Keep a line for the timeline; formatted only when somebody wants to read it."""
        self.timeline.append((self.now_s, text, args))

    def told(self) -> list[str]:
        """The timeline, as lines."""
        return [f"{at_s:10.4f}  {text.format(*args)}" for at_s, text, args in self.timeline]
