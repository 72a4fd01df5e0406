"""What every fault gives back when it is injected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.substrates import Links


class NotBiting(RuntimeError):
    """The fault was injected and its probe saw nothing of it: whatever the run shows, it does not show what it was meant to."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault in force. `text`: what was done to whom, for the report; `targets`: the hosts it was done to.

    `bites` returns what its probe saw, or raises `NotBiting`; `heal` undoes the fault, and may be called twice.
    """

    text: str
    targets: tuple[str, ...]
    bites: Callable[[], str]
    heal: Callable[[], None]
    breaks_promises: bool = False
    """Whether it takes away by hand what somebody holds: no lease can prevent that. It has to be noticed within a second."""


def lifting(links: Links, tickets: Sequence[int]) -> Callable[[], None]:
    """Healing that ends disturbances of the network."""

    def heal() -> None:
        for ticket in tickets:
            links.lift(ticket)

    return heal
