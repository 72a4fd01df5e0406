"""Names: the name server that everybody asks is broken. The topology has to say `names: dns`."""

from __future__ import annotations

from typing import Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.substrates import CannotInject
from chaos.substrates.names import DOMAIN

_WORDS = {
    "silent": "does not answer",
    "unknown": "knows no name (NXDOMAIN)",
    "wrong": "gives the address of nobody",
    "slow": "takes its time",
}


class Names(msgspec.Struct, frozen=True, tag="names", tag_field="fault", forbid_unknown_fields=True):
    """What is wrong with it: it is `silent`, `slow`, knows every name as `unknown`, or gives the `wrong` address."""

    kind: Literal["silent", "unknown", "wrong", "slow"] = "silent"

    def inject(self, bed: Bed) -> Injection:
        """From now on."""
        server = bed.names
        if server is None:
            raise CannotInject("the pods know addresses, not names: the topology has to say `names: dns`")
        server.mood = self.kind
        host, name = bed.pods[0].host, f"{bed.store_hosts[0]}.{DOMAIN}"

        def bites() -> str:
            found = bed.links.resolves(host, name, 2.0)
            if found == bed.links.address(bed.store_hosts[0]):
                raise NotBiting(f"{host} still finds {name} at {found}")
            return f"{host} asks for {name} and gets {found or 'no address'}"

        def heal() -> None:
            server.mood = "well"

        def known() -> bool:
            return bed.links.resolves(host, name, 2.0) == bed.links.address(bed.store_hosts[0])

        gone = probed(known, 10.0, f"{host} finds {name}", f"{host} does not find {name}")
        return Injection(f"the name server {_WORDS[self.kind]}", (), bites, heal, gone)
