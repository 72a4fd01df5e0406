"""One subscription to the board for all streams; each waits for a publication, or for a time, whichever comes first."""

from __future__ import annotations

import asyncio

from leaderd.board import Board


class Ears:
    """`number` rises with each publication: who has seen a number can wait for the next, and misses none in between."""

    def __init__(self, board: Board) -> None:
        self.number = 0
        self.closed = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._waking = False
        self._unsubscribe = board.subscribe(self._on_published)

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when the number is no longer `seen`, after `seconds`, or when all is over."""
        if self.number != seen or self.closed:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        # Never zero: a caller whose deadline is just ahead must not spin.
        timer = loop.call_later(max(0.001, seconds), _finish, waiter)
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.discard(waiter)

    def close(self) -> None:
        """End all waiting, now and later."""
        self._unsubscribe()
        self.closed = True
        self._wake()

    def _on_published(self) -> None:
        # Within the runner's step: only a note, so that what the step asks of the store leaves first.
        self.number += 1
        if self._waiting and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        for waiter in tuple(self._waiting):
            _finish(waiter)


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
