"""Toxics: what a proxy between a pod and the store does to the bytes that pass. The topology has to say `via: proxy`."""

from __future__ import annotations

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.proxy.control import ProxyProcess
from chaos.proxy.toxics import Direction, Kind, Toxic
from chaos.severed import by_cut
from chaos.substrates import CannotInject
from testbed.process import WaitTimeout, wait_until

_HEALED_S = 30.0
_WORDS = {
    "swallow": "swallowed",
    "hold": "held back",
    "delay": "delayed",
    "slice": "cut into small pieces",
    "truncate": "cut off",
    "close": "passed, then the connection closed",
    "reset": "reset",
}


class Toxify(msgspec.Struct, frozen=True, tag="toxic", tag_field="fault", forbid_unknown_fields=True):
    """`kind`, as in `chaos/proxy/toxics.py`, for the pods in role `at`; `towards` the store hosts of a role, or all of them."""

    at: str
    kind: Kind
    direction: Direction = "both"
    towards: str = ""
    ms: int = 0
    jitter_ms: int = 0
    size: int = 1

    @property
    def _shuts(self) -> bool:
        """Whether no question is answered while it is in force."""
        return self.kind in ("swallow", "hold") or (self.kind == "reset" and not self.ms)

    def inject(self, bed: Bed) -> Injection:
        """Put it in force at every proxy concerned."""
        hosts = bed.who(self.at)
        upstreams = bed.who(self.towards) if self.towards else [""]
        added: list[tuple[ProxyProcess, int]] = []
        for host in hosts:
            proxy = bed.pod(host).proxy
            if proxy is None:
                raise CannotInject("no proxy between the pods and the store: the topology has to say `via: proxy`")
            for upstream in upstreams:
                toxic = Toxic(self.kind, self.direction, upstream, self.ms, self.jitter_ms, self.size)
                added.append((proxy, proxy.add(toxic)))
        what = "connections" if self.kind in ("close", "reset") else self.direction if self.direction != "both" else "bytes"
        text = f"{what} of {' '.join(hosts)} {_WORDS[self.kind]}"
        if self.kind == "reset" and self.ms:
            text += f" every {self.ms} ms"
        severs = by_cut(hosts, self._towards(bed), False, bed.store_hosts, bed.reach) if self._shuts else ()
        before: dict[int, int] = {}

        def heal() -> None:
            for proxy, number in added:
                proxy.lift(number)
                before.setdefault(number, proxy.replied())

        def passes() -> bool:
            waiting = [(proxy, number) for (proxy, number), host in owners if bed.pod(host).daemon.running]
            lifted = not any(proxy.in_force(number) for proxy, number in added)
            return lifted and all(proxy.replied() > before[number] for proxy, number in waiting)

        owners = list(zip(added, [host for host in hosts for _ in upstreams], strict=True))
        gone = probed(passes, _HEALED_S, "answers come through untouched", f"no answer to {' '.join(hosts)} comes through")
        return Injection(text, tuple(hosts), lambda: self._bites(bed, added), heal, gone, severs)

    def _towards(self, bed: Bed) -> list[str]:
        return bed.who(self.towards) if self.towards else bed.store_hosts

    def _bites(self, bed: Bed, added: list[tuple[ProxyProcess, int]]) -> str:
        """A renewal is due within a ttl, and then the toxic has something to act on."""

        def acted() -> int:
            return sum(proxy.seen(number) for proxy, number in added)

        try:
            return f"acted {wait_until(acted, bed.ttl_s + 2.0, 'the toxic acts')} times"
        except WaitTimeout:
            raise NotBiting(f"nothing came by that could be {_WORDS[self.kind]}") from None
