"""Capped, jittered back-off from a seed: a candidate never gives up (I9), and a fleet never knocks in step."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Backoff:
    """Delays that double from `base_s` to `cap_s`, each drawn from its upper half. The draw is a pure function of the seed."""

    __slots__ = ("_base_s", "_cap_s", "_state", "attempts")

    def __init__(self, seed: int, base_s: float = 0.1, cap_s: float = 1.5) -> None:
        self._state = seed & _MASK
        self._base_s = base_s
        self._cap_s = cap_s
        self.attempts = 0

    def next_s(self) -> float:
        """The delay before the next attempt, in seconds."""
        # The exponent is bounded: a store that is away for weeks must not make the power overflow.
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return ceiling_s * (0.5 + 0.5 * self.draw())

    def reset(self) -> None:
        """The last attempt worked: begin again with the shortest delay."""
        self.attempts = 0

    def draw(self) -> float:
        """A number in [0, 1), by splitmix64 (Steele, Lea, Flood 2014)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) / float(1 << 53)
