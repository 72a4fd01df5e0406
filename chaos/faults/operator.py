"""Revoke, Delete, Overwrite: an operator lays hands on the entry that leads. It breaks promises; it must be noticed within 1 s."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting
from chaos.operator import Operator
from testbed.process import WaitTimeout, wait_until


class Revoke(msgspec.Struct, frozen=True, tag="revoke", tag_field="fault", forbid_unknown_fields=True):
    """The session or lease of whoever leads is ended."""

    def inject(self, bed: Bed) -> Injection:
        """Do it now."""
        return _by_hand(bed, "revoked", lambda operator: operator.revoke())


class Delete(msgspec.Struct, frozen=True, tag="delete", tag_field="fault", forbid_unknown_fields=True):
    """The entry of whoever leads is deleted, its session lives on."""

    def inject(self, bed: Bed) -> Injection:
        """Do it now."""
        return _by_hand(bed, "entry deleted", lambda operator: operator.delete())


class Overwrite(msgspec.Struct, frozen=True, tag="overwrite", tag_field="fault", forbid_unknown_fields=True):
    """Somebody writes something else over the entry of whoever leads."""

    def inject(self, bed: Bed) -> Injection:
        """Do it now; healing deletes what was written, if it still stands in the way."""
        return _by_hand(bed, "entry overwritten", lambda operator: operator.overwrite(), lambda operator: operator.delete())


def _by_hand(bed: Bed, what: str, do: Callable[[Operator], None], undo: Callable[[Operator], None] | None = None) -> Injection:
    (host,) = bed.who("leader")
    operator = bed.operator
    before = operator.leading()
    do(operator)
    done: list[bool] = []

    def bites() -> str:
        if undo is not None:
            return f"{before} is not as it was"
        try:
            wait_until(lambda: operator.leading() != before, 5.0, f"{before} is gone")
        except WaitTimeout:
            raise NotBiting(f"{before} is still there") from None
        return f"{before} is gone"

    def heal() -> None:
        if undo is not None and not done and operator.foreign():
            undo(operator)
        done.append(True)

    return Injection(f"{host}: {what} by hand", (host,), bites, heal, breaks_promises=True)
