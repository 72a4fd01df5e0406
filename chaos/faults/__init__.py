"""The fault menu. A fault is what the scenario file says; injecting it gives an `Injection`, which knows how to undo it.

To add one: a file with a `msgspec.Struct` whose tag is its name in scenarios, an `inject` that resolves its targets at that moment,
a probe in `bites` that shows it works and one in `gone` that shows it is over (else the run is inconclusive, never green), and its
line in `MENU` below.
"""

from __future__ import annotations

from chaos.faults.base import Injection, NotBiting, NotHealed
from chaos.faults.claim import ClaimLost
from chaos.faults.clock import Clock
from chaos.faults.cut import Cut
from chaos.faults.data import Backup, Restore
from chaos.faults.exhaust import Exhaust
from chaos.faults.fill import Fill
from chaos.faults.flap import Flap
from chaos.faults.freeze import Freeze, FreezeApp
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.faults.litter import Alarm, Litter
from chaos.faults.loss import Loss, Reset
from chaos.faults.memory import OutOfMemory
from chaos.faults.names import Names
from chaos.faults.operator import Delete, Overwrite, Revoke
from chaos.faults.orders import Cordon, Pause, Resign, Transfer
from chaos.faults.packets import Packets, Throttle
from chaos.faults.restarts import Restarts
from chaos.faults.strained import Disk
from chaos.faults.toxic import Toxify

_Network = Cut | Loss | Reset | Packets | Throttle | Toxify | Names | ClaimLost
_Process = Freeze | FreezeApp | Flap | Kill | Terminate | Restarts | Exhaust | OutOfMemory | Clock
_Store = KillNode | Disk | Fill | Alarm | Backup | Restore | Litter | Revoke | Delete | Overwrite
_Order = Transfer | Resign | Pause | Cordon
Fault = _Network | _Process | _Store | _Order
MENU: tuple[type[Fault], ...] = (
    *(Cut, Loss, Reset, Packets, Throttle, Toxify, Names, ClaimLost),
    *(Freeze, FreezeApp, Flap, Kill, Terminate, Restarts, Exhaust, OutOfMemory, Clock),
    *(KillNode, Disk, Fill, Alarm, Backup, Restore, Litter, Revoke, Delete, Overwrite),
    *(Transfer, Resign, Pause, Cordon),
)

__all__ = ["MENU", "Fault", "Injection", "NotBiting", "NotHealed"]
