"""What every fault gives back when it is injected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.substrates import Links
from testbed.process import WaitTimeout, wait_until


class NotBiting(RuntimeError):
    """The fault was injected and its probe saw nothing of it: whatever the run shows, it does not show what it was meant to."""


class NotHealed(NotBiting):
    """The fault was healed and its probe still sees it: whatever comes afterwards does not show what it was meant to."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault in force. `text`: what was done to whom, for the report; `targets`: the hosts it was done to.

    `bites` returns what its probe saw, or raises `NotBiting`; `heal` undoes the fault, and may be called twice; `gone` returns what
    a probe saw after that, or raises `NotHealed`.
    """

    text: str
    targets: tuple[str, ...]
    bites: Callable[[], str]
    heal: Callable[[], None]
    gone: Callable[[], str]
    severs: tuple[str, ...] = ()
    """The pods to which no renewal can be confirmed while it is in force: each has to stop by its lease, whoever follows."""
    breaks_promises: bool = False
    """Whether it takes away by hand what somebody holds: no lease can prevent that. It has to be noticed within a second."""


def probed(condition: Callable[[], object], within_s: float, seen: str, still: str) -> Callable[[], str]:
    """A probe of the healing: it waits for `condition` and tells what was `seen`, or raises `NotHealed` with what is `still` so."""

    def gone() -> str:
        try:
            wait_until(condition, within_s, seen)
        except WaitTimeout:
            raise NotHealed(still) from None
        return seen

    return gone


def over_at_once() -> str:
    """Nothing stays in force: what was done was done at one instant."""
    return "nothing of it stays in force"


def lifting(links: Links, tickets: Sequence[int]) -> Callable[[], None]:
    """Healing that ends disturbances of the network."""

    def heal() -> None:
        for ticket in tickets:
            links.lift(ticket)

    return heal
