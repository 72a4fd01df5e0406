"""Observers hear of a step after it, in order, and what fails there ends leadership as a failure in the step would."""

import asyncio

from leaderd.observing import Afterwards


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


async def test_later_and_in_order():
    heard = []
    afterwards = Afterwards((Scribe(heard, "a"), Scribe(heard, "b")), on_crash=heard.append)
    asyncio.get_running_loop().call_soon(heard.append, "request sent")
    afterwards.published(1, 2, 3.0)
    afterwards.renewed(0.1, None)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == ["request sent", ("a", 1, 2, 3.0), ("b", 1, 2, 3.0), ("a", 0.1, None), ("b", 0.1, None)]


async def test_a_failure_reaches_the_runner():
    heard = []
    error = ValueError("metrics")
    crashes = []
    afterwards = Afterwards((Scribe(heard, "a", error),), on_crash=crashes.append)
    afterwards.published(1, 2, 3.0)
    afterwards.renewed(0.1, None)
    await asyncio.sleep(0)
    assert crashes == [error, error]
