"""What a connection and a stream know of each other, once an answer has become a stream of events."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Where a stream's bytes go."""

    def write(self, data: bytes) -> None:
        """Send, without waiting."""

    def close(self) -> None:
        """Close when what was written has left."""

    def abort(self) -> None:
        """Give it up."""


class Stream(Protocol):
    """What follows the head of an answer, until one side closes. Whoever makes one must see to it that `gone` is called."""

    def open(self, sink: Sink) -> None:
        """The head has been written; begin. Nothing may have been awaited since the stream was made."""

    def paused(self) -> None:
        """The peer does not read: what is written from now on waits in memory."""

    def resumed(self) -> None:
        """It reads again."""

    def gone(self, by_peer: bool) -> None:
        """The connection is over. `by_peer`: for certain, because the peer has closed it; else we or something between us have."""
