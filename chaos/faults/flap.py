"""Flap: stopped and let go again and again, as under a starved hypervisor: never long enough to be taken for dead, never well."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting
from chaos.faults.freeze import going_on, thaw
from testbed.process import Process, WaitTimeout, wait_until

_PATIENCE_S = 5.0


class Flap(msgspec.Struct, frozen=True, tag="flap", tag_field="fault", forbid_unknown_fields=True):
    """The daemons in role `at` stand still for `stop_ms`, run for `run_ms`, and so on until it is healed."""

    at: str = "leader"
    stop_ms: int = 900
    run_ms: int = 100

    def inject(self, bed: Bed) -> Injection:
        """Begin, those who play the part now in step with each other."""
        hosts = bed.who(self.at)
        processes = [bed.pod(host).daemon for host in hosts]
        over, stops = threading.Event(), [0]

        def run() -> None:
            while not over.is_set():
                stopped = _each_still(processes)
                stops[0] += bool(stopped)
                over.wait(self.stop_ms / 1000)
                thaw(stopped)
                over.wait(self.run_ms / 1000)

        thread = threading.Thread(target=run, name="flap", daemon=True)
        thread.start()

        def bites() -> str:
            try:
                wait_until(lambda: stops[0] >= 2, 2 * (self.stop_ms + self.run_ms) / 1000 + _PATIENCE_S, "stopped twice")
            except WaitTimeout:
                raise NotBiting(f"{' '.join(hosts)} did not stand still twice") from None
            return "every thread stood still, twice so far"

        def heal() -> None:
            over.set()
            thread.join(10.0)
            thaw(processes)

        text = f"daemon {' '.join(hosts)} stopped for {self.stop_ms} ms, let go for {self.run_ms} ms, again and again"
        return Injection(text, tuple(hosts), bites, heal, lambda: going_on(processes))


def _each_still(processes: Sequence[Process]) -> list[Process]:
    """Those that were stopped; whoever has ended meanwhile is nobody's to stop."""
    done = []
    for process in processes:
        with suppress(RuntimeError, WaitTimeout):
            process.freeze()
            done.append(process)
    return done
