"""The process: `python -m chaos.packets.server HOST_SIDE NET_SIDE COUNT_FILE MISHAP`, between the two ends of a host's cable.

MISHAP is a `Mishap` in JSON; it happens to what goes towards the host, the other way is as it was. COUNT_FILE is there as soon as
frames pass, and says how many the mishap has happened to. SIGTERM lets everything through that still waits, and ends it.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from chaos.packets.kinds import Mishap, Way
from chaos.packets.wire import Wire

_TOLD_EVERY_S = 0.05


def serve(host: Wire, net: Wire, way: Way, count: Path) -> None:
    """Until SIGTERM."""
    over: list[bool] = []

    def end(number: int, frame: FrameType | None) -> None:
        over.append(True)

    signal.signal(signal.SIGTERM, end)
    told_s = 0.0
    _tell(count, 0)
    while not over:
        due_s = way.next_s()
        patience_s = _TOLD_EVERY_S if due_s is None else min(_TOLD_EVERY_S, max(0.0, due_s - time.monotonic()))
        select.select([host, net], [], [], patience_s)
        for frame in host.frames():
            net.give(frame)
        for frame in net.frames():
            way.came(frame, time.monotonic())
        now_s = time.monotonic()
        for each in way.due(now_s):
            host.give(each.frame)
        if now_s - told_s > _TOLD_EVERY_S:
            told_s = now_s
            _tell(count, way.acted)
    for each in way.due(float("inf")):
        host.give(each.frame)


def _tell(count: Path, acted: int) -> None:
    new = count.with_suffix(".new")
    new.write_text(str(acted), encoding="ascii")
    os.replace(new, count)


def main() -> None:
    """Serve between the devices that the command line names."""
    host, net, count, mishap = sys.argv[1:5]
    serve(Wire(host), Wire(net), Way(msgspec.json.decode(mishap, type=Mishap), random.Random()), Path(count))


if __name__ == "__main__":
    main()
