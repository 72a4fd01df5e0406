"""A host's clocks: the boot clock with its own offset and rate, the monotonic clock that stops in suspend, the wall clock."""

from __future__ import annotations

from leaderd.clock import Divergence, Instant
from tests.sim.world import World


class HostClock:
    """What `BootClock` is on a real host: CLOCK_BOOTTIME, and an eye on the wall clock.

    The boot clock counts suspended time, but not the time in which the whole virtual machine was stopped (`stop`, `go_on`). After
    that the wall clock, put right by the host, has jumped, which every reading from then on shows.
    """

    def __init__(self, world: World, offset_s: float, rate: float, jump_limit_s: float) -> None:
        self._world = world
        self._base_s = offset_s
        self._true_s = 0.0
        self.rate = rate
        self.jump_limit_s = jump_limit_s
        self._lost_s = 0.0
        self._divergence = Divergence(jump_limit_s, offset_s, 0.0)
        self.jumps = 0
        self.stopped = False
        self.suspended_s = 0.0
        """How far the monotonic clock lags behind the boot clock."""

    def now_s(self) -> float:
        """Seconds since boot, suspend included."""
        if self.stopped:
            return self._base_s
        return self._base_s + (self._world.now_s - self._true_s) * self.rate

    def instant(self) -> Instant:
        """The same, with the number of jumps noticed."""
        return Instant(self.now_s(), self.jumps)

    def wall_s(self) -> float:
        """Seconds since the epoch; for humans only."""
        return 1.8e9 + self._world.now_s

    def true_s(self, boot_s: float) -> float:
        """The true time at which the boot clock shows `boot_s`, if nothing stops it."""
        return self._true_s + (boot_s - self._base_s) / self.rate

    def stop(self) -> None:
        """The virtual machine is paused."""
        self._base_s = self.now_s()
        self._true_s = self._world.now_s
        self.stopped = True

    def go_on(self) -> float:
        """The virtual machine goes on; returns for how long (true seconds) it stood since `stop`."""
        lost_s = self._world.now_s - self._true_s
        self.stopped = False
        self._true_s = self._world.now_s
        self._lost_s += lost_s
        if self._divergence.moved_by_s(self._base_s, self._lost_s):
            self.jumps += 1
        return lost_s
