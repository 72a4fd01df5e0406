"""When the leader of each election last changed, as far as this daemon saw it. For information: `last_update` of `GET /`."""

from __future__ import annotations

from collections.abc import Callable

from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.surfaces.view import rfc3339


class LeaderChanges:
    """Watches the board for new leader names. Two changes between two publications are one."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._seen: dict[str, tuple[str | None, float | None]] = dict.fromkeys(board.snapshot.elections, (None, None))
        self._take_note()
        self.stop: Callable[[], None] = board.subscribe(self._take_note)

    def last_update(self, election: str) -> str | None:
        """RFC 3339 in UTC; None before any leader was seen."""
        at_s = self._seen[election][1]
        return None if at_s is None else rfc3339(round(self._clock.wall_s() - (self._clock.now_s() - at_s)))

    def _take_note(self) -> None:
        for name, view in self._board.snapshot.elections.items():
            if view.leader != self._seen[name][0]:
                self._seen[name] = (view.leader, self._clock.now_s())
