"""Transfer, Resign, Pause, Cordon: what an operator orders by leaderd's own commands. Nothing breaks, and promises are kept.

The order is on its way when the injection returns; the probe waits for its answer. An order that is not carried out is a failure of
the run. With `promise_ms` the leader is asked for such a promise right before: nobody else may lead until it has lapsed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from chaos.bed import Bed
from chaos.faults.base import Injection, NotBiting, over_at_once, probed
from chaos.pods import Pod
from leaderd.cli import daemon_client
from leaderd.cli.daemon_client import Unreachable
from testbed.process import WaitTimeout, wait_until

_ANSWER_S = 60.0
_TOLD_S = 5.0
"""Within which every daemon has to tell of an order, and an order of healing has to be taken."""


class Refused(RuntimeError):
    """It was not done; the text says why."""


class Transfer(msgspec.Struct, frozen=True, tag="transfer", tag_field="fault", forbid_unknown_fields=True):
    """Whoever leads hands over to the last of the followers."""

    at: Literal["leader"] = "leader"
    promise_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """Ask; `bites` waits until the target is confirmed."""
        leader, target = _only(bed, self.at), bed.pod(bed.who("followers")[-1])
        _promise(leader, self.promise_ms)
        order = _Order(leader, "POST", "transfer", {"to": target.name, "timeout": "10s"})

        def seen(answer: dict[str, Any]) -> str:
            if not answer["confirmed"]:
                raise Refused(f"{target.name} was not seen to lead")
            return f"{target.name} leads with token {answer['new_token']}, nobody led for {answer['leaderless_ms']} ms at most"

        return _injection(bed, f"transfer from {leader.name} to {target.name}", leader, order, seen)


class Resign(msgspec.Struct, frozen=True, tag="resign", tag_field="fault", forbid_unknown_fields=True):
    """Whoever leads gives up, and does not stand again for `cooldown_ms`."""

    at: Literal["leader"] = "leader"
    cooldown_ms: int = 0
    promise_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """Ask; `bites` waits for the release."""
        leader = _only(bed, self.at)
        _promise(leader, self.promise_ms)
        order = _Order(leader, "POST", "resign", {"cooldown": f"{self.cooldown_ms}ms"})

        def seen(answer: dict[str, Any]) -> str:
            if not answer["released"]:
                raise Refused("the store has not confirmed the release")
            return f"token {answer['token']} was given up, free after {answer['took_ms']} ms"

        return _injection(bed, f"{leader.name} is told to resign", leader, order, seen)


class Pause(msgspec.Struct, frozen=True, tag="pause", tag_field="fault", forbid_unknown_fields=True):
    """Nobody is to lead, by an order to whoever leads; healing has another daemon resume."""

    at: Literal["leader"] = "leader"
    promise_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """Ask; `bites` waits until all daemons tell of it."""
        leader = _only(bed, self.at)
        _promise(leader, self.promise_ms)
        order = _Order(leader, "PUT", "pause", {"reason": "chaos"})

        def seen(answer: dict[str, Any]) -> str:
            _wait_told(bed.pods, "paused")
            return f"the store has it, and {len(bed.pods)} daemons tell of it"

        def heal() -> None:
            other = next((pod for pod in bed.pods if pod is not leader and pod.daemon.running), leader)
            _undo(bed, other, "DELETE", "pause")

        return _injection(bed, f"paused by way of {leader.name}", leader, order, seen, heal, _untold(bed.pods, "paused"))


class Cordon(msgspec.Struct, frozen=True, tag="cordon", tag_field="fault", forbid_unknown_fields=True):
    """The daemon in role `at` is to stand no more; healing has it stand again."""

    at: str = "leader"
    promise_ms: int = 0

    def inject(self, bed: Bed) -> Injection:
        """Ask; `bites` waits until it has left the election."""
        pod = _only(bed, self.at)
        _promise(pod, self.promise_ms)
        order = _Order(pod, "DELETE", "candidacy", {})

        def seen(answer: dict[str, Any]) -> str:
            _wait_told([pod], "cordoned")
            return f"{pod.name} has left the election"

        heal, gone = (lambda: _undo(bed, pod, "PUT", "candidacy")), _untold([pod], "cordoned")
        return _injection(bed, f"{pod.name} cordoned", pod, order, seen, heal, gone)


class _Order:
    """One request to a daemon, in a thread of its own."""

    def __init__(self, pod: Pod, method: str, verb: str, body: dict[str, Any]) -> None:
        self._asked = (str(pod.socket), method, f"/v1/elections/{pod.plan.election}/{verb}", json.dumps(body))
        self._answer: daemon_client.Answer | Unreachable | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._answer = daemon_client.change(*self._asked, _ANSWER_S)
        except Unreachable as error:
            self._answer = error

    def answer(self) -> dict[str, Any]:
        """What the daemon says when it is done. Raises `Refused`."""
        self._thread.join(_ANSWER_S + 1.0)
        found = self._answer
        if not isinstance(found, daemon_client.Answer):
            raise Refused("no answer" if found is None else found.message)
        if found.status not in {200, 202}:
            raise Refused(found.complaint())
        return found.json()


def _injection(
    bed: Bed,
    text: str,
    pod: Pod,
    order: _Order,
    seen: Callable[[dict[str, Any]], str],
    heal: Callable[[], None] = lambda: None,
    gone: Callable[[], str] = over_at_once,
) -> Injection:
    def bites() -> str:
        try:
            return seen(order.answer())
        except Refused as error:
            bed.recorder.note("missed", text=f"{text}: {error}")
            return f"it was not done: {error}"

    return Injection(text, (pod.host,), bites, heal, gone)


def _undo(bed: Bed, pod: Pod, method: str, verb: str) -> None:
    """Take an order back; a daemon that has just been started may need a moment."""

    def undone() -> bool:
        try:
            _Order(pod, method, verb, {}).answer()
        except Refused as error:
            said[0] = str(error)
            return False
        return True

    said = [""]
    try:
        wait_until(undone, _TOLD_S, f"{pod.name} takes {method} {verb}")
    except WaitTimeout as error:
        bed.recorder.note("missed", text=f"{error}: {said[0]}")


def _only(bed: Bed, role: str) -> Pod:
    return bed.pod(bed.who(role)[0])


def _promise(pod: Pod, promise_ms: int) -> None:
    """Have it promise so much, in somebody's name who does not give it back. Raises `NotBiting`."""
    if promise_ms:
        answer = daemon_client.get(str(pod.socket), f"/is-leader/{pod.plan.election}?promise={promise_ms}ms")
        given_ms = answer.json().get("valid_for_ms")
        if not isinstance(given_ms, int) or given_ms < promise_ms / 2:
            raise NotBiting(f"{pod.name} promised {given_ms} ms of {promise_ms}")


def _wait_told(pods: list[Pod], reason: str) -> None:
    """Wait until they give this reason for not leading. Raises `Refused`."""
    silent: list[str] = []

    def told() -> bool:
        silent[:] = [pod.name for pod in pods if _reason(pod) != reason]
        return not silent

    try:
        wait_until(told, _TOLD_S, "everybody tells of it")
    except WaitTimeout:
        raise Refused(f"{' '.join(silent)} did not say {reason} within {_TOLD_S:g} s") from None


def _untold(pods: list[Pod], reason: str) -> Callable[[], str]:
    """The probe of an order that was taken back."""
    return probed(
        lambda: not any(_reason(pod) == reason for pod in pods),
        _TOLD_S,
        f"nobody says {reason} any more",
        f"somebody still says {reason}",
    )


def _reason(pod: Pod) -> object:
    try:
        return daemon_client.get(str(pod.socket), f"/is-leader/{pod.plan.election}?promise=0").json().get("reason")
    except Unreachable:
        return None
