"""What the records say to this candidate: stay out while the election is paused, step aside while leadership goes to another.

And what a leader does about them: it removes what is over, and says that a transfer to it has arrived.
"""

from __future__ import annotations

import math
from dataclasses import replace

from leaderd.election.commands import Command
from leaderd.election.events import RecordSeen, RecordWritten
from leaderd.election.pause import Pause, read_pause
from leaderd.election.problems import Reason
from leaderd.election.records import RecordKind, Records
from leaderd.election.transfer import Transfer, read_transfer, transfer_bytes


class Orders:
    """The orders in one election. Instants in seconds since the epoch: whoever gave them dates by the wall clock."""

    __slots__ = ("held", "held_until_s", "pause", "records", "transfer")

    def __init__(self, election: str) -> None:
        self.records = Records(election)
        self.pause: Pause | None = None
        self.transfer: Transfer | None = None
        self.held: Reason | None = None
        """Why this candidate has to stay out; as of the last `judge`."""
        self.held_until_s = math.inf

    @property
    def shown_pause(self) -> Pause | None:
        """The pause in force as of the last `judge`, if any."""
        return self.pause if self.held is Reason.PAUSED else None

    def told(self, event: RecordSeen) -> None:
        """The store showed a record."""
        self.records.told(event)
        self._read()

    def written(self, event: RecordWritten) -> None:
        """A write of ours is committed."""
        self.records.written(event)
        self._read()

    def session_began(self) -> None:
        """Nothing is known until the new session tells it; it does so before anybody can lead."""
        self.records.session_began()
        self._read()

    def judge(self, wall_s: float, instance: str, *, leading: bool) -> tuple[Reason | None, str]:
        """Whether this candidate has to be out of the election now, why, and in whose words."""
        self.held, self.held_until_s = None, math.inf
        if self.pause is not None and not self.pause.over(wall_s):
            self.held = Reason.PAUSED
            self.held_until_s = self.pause.expires_at_s if self.pause.expires_at_s is not None else math.inf
            return self.held, self.pause.text()
        transfer = self.transfer
        # The leader stays until the target is next; whoever leads meanwhile, it is not our business to end its term.
        if transfer is not None and transfer.under_way(wall_s) and transfer.to != instance and not leading:
            self.held, self.held_until_s = Reason.STEPPED_ASIDE, transfer.until_s
            return self.held, f"leadership goes to {transfer.to}"
        return None, ""

    def tidy(self, epoch: int, token: int, now_s: float, wall_s: float, instance: str) -> list[Command]:
        """We lead with `token`: remove what is over, and say that a transfer to us has arrived. Tried again until it is done."""
        if now_s < self.records.retry_at_s:
            return []
        commands: list[Command] = []
        if self.pause is not None and self.pause.over(wall_s):
            commands += self._put(epoch, RecordKind.PAUSE, None)
        transfer = self.transfer
        if transfer is not None and transfer.taken is None and token > transfer.token:
            # It arrived; or another got there first (the leader that wrote it is gone), and it is void.
            arrived = transfer.to == instance
            commands += self._put(epoch, RecordKind.TRANSFER, transfer_bytes(replace(transfer, taken=token)) if arrived else None)
        return commands

    def answer(self, epoch: int, now_s: float, wall_s: float, instance: str) -> list[Command]:
        """We stand: say so to a leader that asks, because it cannot see who does."""
        transfer = self.transfer
        if transfer is None or not transfer.asks or transfer.to != instance or not transfer.under_way(wall_s):
            return []
        if now_s < self.records.retry_at_s:
            return []
        return self._put(epoch, RecordKind.TRANSFER, transfer_bytes(replace(transfer, asks=False, stands=True)))

    def _put(self, epoch: int, kind: RecordKind, value: bytes | None) -> list[Command]:
        if self.records.writing(kind):
            return []
        return [*self.records.write(epoch, kind, value, self.records.of(kind).version, 0)]

    def _read(self) -> None:
        self.pause = read_pause(self.records.of(RecordKind.PAUSE))
        self.transfer = read_transfer(self.records.of(RecordKind.TRANSFER))
