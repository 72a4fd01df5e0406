"""The fault menu. A fault is what the scenario file says; injecting it gives an `Injection`, which knows how to undo it.

To add one: a file with a `msgspec.Struct` whose tag is its name in scenarios, an `inject` that resolves its targets at that moment,
a probe in `bites` that shows it works (else the run is inconclusive, never green), and its line in `MENU` below.
"""

from __future__ import annotations

from chaos.faults.base import Injection, NotBiting
from chaos.faults.cut import Cut
from chaos.faults.freeze import Freeze, FreezeApp
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.faults.loss import Loss, Reset
from chaos.faults.operator import Delete, Overwrite, Revoke
from chaos.faults.toxic import Toxify

Fault = Cut | Freeze | FreezeApp | Kill | KillNode | Terminate | Loss | Reset | Toxify | Revoke | Delete | Overwrite
MENU: tuple[type[Fault], ...] = (
    *(Cut, Loss, Reset, Toxify),
    *(Freeze, FreezeApp, Kill, Terminate, KillNode),
    *(Revoke, Delete, Overwrite),
)

__all__ = ["MENU", "Fault", "Injection", "NotBiting"]
