"""Clock: the clocks of daemons are set, or run at another rate. The topology has to say `clock: faked`."""

from __future__ import annotations

import threading
from typing import Annotated, Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.pods import Pod
from chaos.substrates import CannotInject
from chaos.workload.clocks import Skew, SkewFile, boot_s
from testbed.process import WaitTimeout, wait_until


class Clock(msgspec.Struct, frozen=True, tag="clock", tag_field="fault", forbid_unknown_fields=True):
    """For the daemons in role `at`: `jump`, the wall clock is set forward (or back) by `by_s`; `strobe`, it goes back and forth by
    that every `every_ms`; `rate`, their clocks show `rate` seconds a second. Healing sets the wall clock right, or the rate.
    """

    at: str = "leader"
    kind: Literal["jump", "strobe", "rate"] = "jump"
    by_s: float = 600.0
    every_ms: Annotated[int, msgspec.Meta(ge=10)] = 200
    rate: Annotated[float, msgspec.Meta(ge=0.1, le=10.0)] = 1.0

    def inject(self, bed: Bed) -> Injection:
        """From now on."""
        pods = [bed.pod(host) for host in bed.who(self.at)]
        skews = [skew for pod in pods if (skew := pod.skew) is not None]
        if len(skews) < len(pods):
            raise CannotInject("the daemons read the machine's own clock: the topology has to say `clock: faked`")
        over = threading.Event()
        stroke = threading.Thread(target=self._strobe, args=(skews, over), daemon=True)
        if self.kind == "strobe":
            stroke.start()
        else:
            self._set(skews)

        def heal() -> None:
            over.set()
            if stroke.is_alive():
                stroke.join(5.0)
            for skew in skews:
                skew.change(rate=1.0, wall_s=0.0)

        hosts = tuple(pod.host for pod in pods)
        gone = probed(
            lambda: all(skew.seen and (skew.get().rate, skew.get().wall_s) == (1.0, 0.0) for skew in skews),
            5.0,
            "the clocks were read, and are right",
            f"{' '.join(hosts)} has not read the right clock",
        )
        return Injection(f"clock of {' '.join(hosts)} {self._words()}", hosts, lambda: self._bites(pods, skews), heal, gone)

    def _bites(self, pods: list[Pod], skews: list[SkewFile]) -> str:
        """A daemon reads its clock for each answer, and leaves a mark when it has read a changed one."""
        try:
            wait_until(lambda: all(skew.seen and skew.get() != Skew() for skew in skews), 5.0, "the changed clocks were read")
        except WaitTimeout:
            raise NotBiting(f"{' '.join(pod.host for pod in pods)} did not read the changed clock") from None
        now_s = boot_s()
        skew = skews[0].get()
        ahead_s = skew.shown(now_s) - now_s + skew.wall_s
        return f"read by the daemon; its wall clock is {ahead_s:+.3f} s off by now, its rate {skew.rate:g}"

    def _words(self) -> str:
        match self.kind:
            case "jump":
                return f"set {'forward' if self.by_s > 0 else 'back'} by {abs(self.by_s):g} s"
            case "strobe":
                return f"set back and forth by {abs(self.by_s):g} s every {self.every_ms} ms"
            case _:
                return f"shows {self.rate:g} seconds a second"

    def _set(self, skews: list[SkewFile]) -> None:
        for skew in skews:
            if self.kind == "rate":
                skew.change(rate=self.rate)
            else:
                skew.change(wall_s=self.by_s)

    def _strobe(self, skews: list[SkewFile], over: threading.Event) -> None:
        ahead = False
        while not over.wait(self.every_ms / 1000):
            ahead = not ahead
            for skew in skews:
                skew.change(wall_s=self.by_s if ahead else 0.0)
