"""What may happen to a packet on its way."""

from __future__ import annotations

import heapq
import random
from typing import Literal, NamedTuple

import msgspec

Kind = Literal["delay", "reorder", "corrupt", "duplicate"]


class Mishap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`percent` of the packets are concerned.

    - `delay`: they come `ms` later, give or take `jitter_ms`. In order, as from a long way.
    - `reorder`: the same, but whoever came after them overtakes them.
    - `corrupt`: one bit of what they carry is turned over.
    - `duplicate`: they come twice.
    """

    kind: Kind
    percent: int = 100
    ms: int = 0
    jitter_ms: int = 0


_ETHERNET = 14
_IPV4 = b"\x08\x00"


class Due(NamedTuple):
    """A frame that waits. `number`: they are counted as they come."""

    at_s: float
    number: int
    frame: bytes


class Way:
    """The way into one host: what comes in, and when it is let through. Packets leave in the order of `Due`."""

    def __init__(self, mishap: Mishap, chance: random.Random) -> None:
        self._mishap = mishap
        self._chance = chance
        self._waiting: list[Due] = []
        self._last_s = 0.0
        self._came = 0
        self.acted = 0
        """How many packets it has happened to."""

    def came(self, frame: bytes, now_s: float) -> None:
        """A frame has come. Nothing happens to what is no packet of IPv4: addresses are looked up as ever."""
        mishap = self._mishap
        concerned = frame[12:14] == _IPV4 and self._chance.random() * 100 < mishap.percent
        self.acted += concerned
        late_s = 0.0
        if concerned and mishap.kind in ("delay", "reorder"):
            late_s = max(0.0, mishap.ms + self._chance.uniform(-1.0, 1.0) * mishap.jitter_ms) / 1000
        at_s = now_s + late_s
        if mishap.kind == "delay":
            at_s = self._last_s = max(at_s, self._last_s)
        if concerned and mishap.kind == "corrupt":
            frame = _damaged(frame, self._chance)
        for _ in range(2 if concerned and mishap.kind == "duplicate" else 1):
            self._came += 1
            heapq.heappush(self._waiting, Due(at_s, self._came, frame))

    def due(self, now_s: float) -> list[Due]:
        """What is to be let through now."""
        found = []
        while self._waiting and self._waiting[0].at_s <= now_s:
            found.append(heapq.heappop(self._waiting))
        return found

    def next_s(self) -> float | None:
        """When the next one is due; None if none waits."""
        return self._waiting[0].at_s if self._waiting else None


def _damaged(frame: bytes, chance: random.Random) -> bytes:
    """One bit of what the packet carries: its checksum tells, as behind a switch with bad memory."""
    header = _ETHERNET + (frame[_ETHERNET] & 0x0F) * 4
    if len(frame) <= header:
        return frame
    at = chance.randrange(header, len(frame))
    return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]
