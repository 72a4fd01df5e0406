"""The timer between the core's deadline and the loop: it wakes in time, and remembers how late it ever was."""

from __future__ import annotations

import asyncio
import math

from leaderd.timer import DeadlineTimer
from tests.surfaces.rig import HandClock


async def test_it_wakes_at_the_deadline_and_not_before() -> None:
    clock, woken = HandClock(), asyncio.Event()
    timer = DeadlineTimer(clock, woken.set, max_wait_s=0.001)
    timer.arm(101.0)
    clock.boot_s = 100.9
    assert timer.late_s() == 0.0
    assert not woken.is_set()
    clock.boot_s = 101.25
    async with asyncio.timeout(10):
        await woken.wait()
    assert timer.worst_late_s == 0.25
    timer.stop()


async def test_a_deadline_that_passed_before_it_was_armed_anew_was_late() -> None:
    clock = HandClock()
    timer = DeadlineTimer(clock, lambda: None, max_wait_s=5.0)
    timer.arm(101.0)
    clock.boot_s = 107.0
    assert timer.late_s() == 6.0
    timer.arm(110.0)
    assert (timer.late_s(), timer.worst_late_s) == (0.0, 6.0)
    timer.stop()
    assert (timer.late_s(), timer.worst_late_s) == (0.0, 6.0)


async def test_an_unarmed_timer_is_never_late() -> None:
    clock = HandClock()
    timer = DeadlineTimer(clock, lambda: None, max_wait_s=5.0)
    timer.arm(math.inf)
    clock.boot_s = 1e9
    assert timer.late_s() == 0.0
    timer.stop()
    assert timer.worst_late_s == 0.0
