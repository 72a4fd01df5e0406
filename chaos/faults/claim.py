"""ClaimLost: a daemon's own claim is carried out by the store, and the answer to it does not come, or comes too late."""

from __future__ import annotations

import signal
from typing import Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, probed
from chaos.pods import Pod
from chaos.proxy.toxics import Toxic
from chaos.substrates import CannotInject
from testbed.process import WaitTimeout, wait_until

CLAIMS = {
    # A frame's operation (1 create, 15 create2), then the path with its length.
    "zookeeper": r"\x00\x00\x00[\x01\x0f]\x00\x00../[^\x00]*-lock-",
    # gRPC names a method in full once in each connection, and by a number from then on: the first one of a new daemon is this.
    "etcd": r"/etcdserverpb\.KV/Txn",
    "consul": r"PUT /v1/txn",
}
"""By store: what the request looks like with which a daemon takes its place."""
_START_S = 30.0
_WORDS = {
    "close": "the connection ends instead of its answer",
    "hold": "its answer is held back",
    "swallow": "its answer is swallowed",
}


class ClaimLost(msgspec.Struct, frozen=True, tag="claim-lost", tag_field="fault", forbid_unknown_fields=True):
    """The daemon in role `at`, the first of several, is started afresh, and its claim to a place in the election is carried out.
    `close`: instead of the answer the connection ends; `hold`: the answer comes when this is healed; `swallow`: it does not, nor do
    any that follow.

    Only that first claim: what the daemon does next goes through. The topology has to say `via: proxy`.
    """

    at: str
    kind: Literal["close", "hold", "swallow"] = "close"

    def inject(self, bed: Bed) -> Injection:
        """End it in an orderly way if it runs, so that nothing of it is left in the store, and start it again."""
        host = bed.who(self.at)[0]
        pod = bed.pod(host)
        proxy = pod.proxy
        if proxy is None:
            raise CannotInject("no proxy between the pods and the store: the topology has to say `via: proxy`")
        _end(pod)
        toxic = Toxic("hold" if self.kind == "hold" else "swallow", "replies", request=CLAIMS[bed.store], times=1)
        number = proxy.add(toxic)
        pod.launch()

        def bites() -> str:
            try:
                wait_until(lambda: proxy.seen(number), _START_S, "a claim is answered")
                # Where the answer is kept from the daemon nobody but the store can have told us this.
                wait_until(lambda: pod.name in bed.operator.standing(), bed.ttl_s, f"{pod.name} has an entry")
            except WaitTimeout as error:
                raise NotBiting(f"the claim of {host} was not carried out unheard: {error}") from None
            if self.kind == "close":
                proxy.lift(number)
            return f"the store has an entry of {pod.name}, which was not told so"

        text = f"daemon {host} started afresh, its claim carried out, {_WORDS[self.kind]}"
        gone = probed(lambda: not proxy.in_force(number), 5.0, "answers come through", f"answers to {host} do not come through")
        return Injection(text, (host,), bites, lambda: proxy.lift(number), gone)


def _end(pod: Pod) -> None:
    if pod.daemon.running:
        pod.signal(signal.SIGTERM)
        wait_until(lambda: not pod.daemon.running, 20.0, f"{pod.name} has ended")
    pod.note_exit()
