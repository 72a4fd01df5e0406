"""Revoke, Delete, Overwrite: an operator lays hands on the entry that leads. It breaks promises; it must be noticed within 1 s."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, over_at_once, probed
from chaos.operator import Operator
from testbed.process import WaitTimeout, wait_until

_PATIENCE_S = 5.0


class Revoke(msgspec.Struct, frozen=True, tag="revoke", tag_field="fault", forbid_unknown_fields=True):
    """The session or lease of whoever leads is ended."""

    def inject(self, bed: Bed) -> Injection:
        """Do it now."""
        return _by_hand(bed, "revoked", lambda operator: operator.revoke())


class Delete(msgspec.Struct, frozen=True, tag="delete", tag_field="fault", forbid_unknown_fields=True):
    """The entry of whoever leads is deleted, its session lives on. `everything`: all that the election keeps goes with it, its
    high-water mark and the place itself included, as when somebody deletes a prefix.
    """

    everything: bool = False

    def inject(self, bed: Bed) -> Injection:
        """Do it now."""
        if self.everything:
            return _by_hand(bed, "entry deleted with everything beside it", lambda operator: operator.delete_all())
        return _by_hand(bed, "entry deleted", lambda operator: operator.delete())


class Overwrite(msgspec.Struct, frozen=True, tag="overwrite", tag_field="fault", forbid_unknown_fields=True):
    """Somebody writes something else over the entry of whoever leads. In ZooKeeper that leaves the entry its owner's."""

    def inject(self, bed: Bed) -> Injection:
        """Do it now; healing deletes what was written, if it still stands in the way."""
        return _by_hand(bed, "entry overwritten", lambda operator: operator.overwrite(), lambda operator: operator.delete())


def _by_hand(bed: Bed, what: str, do: Callable[[Operator], None], undo: Callable[[Operator], None] | None = None) -> Injection:
    (host,) = bed.who("leader")
    operator = bed.operator
    before = operator.entry()
    do(operator)
    done: list[bool] = []

    def bites() -> str:
        try:
            wait_until(lambda: operator.entry() != before, _PATIENCE_S, f"{before} is changed")
        except WaitTimeout:
            raise NotBiting(f"{before} is still there as it was") from None
        return f"{before} before, {operator.entry() or 'nobody'} now"

    def heal() -> None:
        if undo is not None and not done and operator.foreign():
            undo(operator)
        done.append(True)

    swept = probed(lambda: not operator.foreign(), 5.0, "nothing foreign stands first", "what was written still stands first")
    gone = over_at_once if undo is None else swept
    robs = undo is None or operator.overwriting_robs
    return Injection(f"{host}: {what} by hand", (host,), bites, heal, gone, breaks_promises=robs)
