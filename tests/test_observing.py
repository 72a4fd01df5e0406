"""Observers hear of a step after it, in order, and what fails there ends leadership as a failure in the step would."""

import asyncio
from types import SimpleNamespace

from leaderd.observing import SETTLE_S, Afterwards


class Clock:
    """A wall clock that is set by hand."""

    at_s = 100.0

    def wall_s(self):
        return self.at_s


class Scribe:
    def __init__(self, heard, name, error=None):
        self.heard, self.name, self.error = heard, name, error

    def published(self, old, new, now_s):
        self.heard.append((self.name, old, new, now_s))
        if self.error is not None:
            raise self.error

    def renewed(self, duration_s, margin_s):
        self.heard.append((self.name, duration_s, margin_s))
        if self.error is not None:
            raise self.error


def snapshot(term):
    return SimpleNamespace(elections={"jobs": SimpleNamespace(term=term)})


LED, NOT_LED = snapshot(object()), snapshot(None)


def afterwards(*observers, crashes=None, clock=None):
    made = Afterwards(clock or Clock(), (crashes if crashes is not None else []).append)
    made.observers = observers
    return made


async def test_later_and_in_order():
    heard = []
    telling = afterwards(Scribe(heard, "a"), Scribe(heard, "b"))
    asyncio.get_running_loop().call_soon(heard.append, "request sent")
    telling.published(NOT_LED, LED, 3.0)
    telling.renewed(0.1, None)
    telling.tell(lambda: heard.append("told"))
    assert heard == []
    await asyncio.sleep(0)
    steps = [(name, NOT_LED, LED, 3.0) for name in "ab"]
    assert heard == ["request sent", *steps, ("a", 0.1, None), ("b", 0.1, None), "told"]


async def test_who_lets_go_leaves_the_processor_to_who_follows():
    """What leaves for the store may need several turns of the loop, and a thread that needs the loop to be idle."""
    heard = []
    loop = asyncio.get_running_loop()
    telling = afterwards(Scribe(heard, "a"))
    begun_s = loop.time()
    telling.published(LED, NOT_LED, 3.0)
    telling.renewed(0.1, None)
    telling.published(NOT_LED, LED, 4.0)
    over = asyncio.Event()
    telling.tell(over.set)
    while not over.is_set():
        turn_began_s = loop.time()
        assert heard == [], "told too soon" if turn_began_s < begun_s + SETTLE_S else "told at last, and not all of it"
        await asyncio.sleep(0)
    assert heard == [("a", LED, NOT_LED, 3.0), ("a", 0.1, None), ("a", NOT_LED, LED, 4.0)]
    assert loop.time() >= begun_s + SETTLE_S
    telling.published(NOT_LED, LED, 5.0)
    await asyncio.sleep(0)
    assert len(heard) == 4, "and then as ever"


async def test_what_is_told_late_bears_the_time_of_the_step():
    clock, times = Clock(), []
    telling = afterwards(clock=clock)
    telling.tell(lambda: times.append(telling.wall_s()))
    clock.at_s = 101.0
    telling.tell(lambda: times.append(telling.wall_s()))
    clock.at_s = 105.0
    telling.flush()
    assert times == [100.0, 101.0]
    assert telling.wall_s() == 105.0


async def test_a_failure_reaches_the_runner():
    heard = []
    error = ValueError("metrics")
    crashes = []
    telling = afterwards(Scribe(heard, "a", error), crashes=crashes)
    telling.published(NOT_LED, LED, 3.0)
    telling.renewed(0.1, None)
    await asyncio.sleep(0)
    assert crashes == [error, error]
    assert telling.wall_s() == 100.0
