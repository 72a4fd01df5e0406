"""The words of a check-up: who is examined, what was found, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls

BOUND_S = 3.0
"""How long one endpoint may take for one question; nothing here waits longer without giving an answer."""

CHECKS = (
    *("endpoint", "other-cluster", "store-version", "store-alarm", "permission", "ttl", "orphan", "foreign-entry", "queue-stuck"),
    *("queue-unmoved", "mark", "duplicate-instance", "wrong-flags", "serf-health", "certificate", "clock-rate", "clock-jump"),
    *("clock-skew", "clock-sync", "time"),
)
"""The names of all checks, as `docs/doctor.md` explains them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `note`: worth knowing, but no reason to act: it does not change the exit code."""

    check: str
    where: str
    what: str
    why: str
    remedy: str
    note: bool = False

    def __post_init__(self) -> None:
        """A check without a name that can be looked up would be of no use."""
        assert self.check in CHECKS, self.check


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint, asked by itself. `latency_s`: of one question and its answer; `trouble`: why there was none."""

    where: str
    latency_s: float | None = None
    version: str = ""
    trouble: str = ""


@dataclass(slots=True)
class Report:
    """What a check-up brought to light."""

    endpoints: list[Endpoint] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def accepting(self, checks: frozenset[str]) -> Report:
        """The same, with the findings of these checks as notes."""
        return Report(self.endpoints, [replace(f, note=True) if f.check in checks else f for f in self.findings])


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: the store as configured, and the elections in it. `now_s`: CLOCK_BOOTTIME; `wall_s`: since the epoch."""

    address: StoreAddress
    tls: Tls
    credentials: Credentials
    timing: Timing
    elections: tuple[str, ...]
    now_s: Callable[[], float]
    wall_s: Callable[[], float]

    def only(self, at: int) -> StoreAddress:
        """The store's address with one of its hosts."""
        return replace(self.address, hosts=(self.address.hosts[at],))


def unreachable(where: str, trouble: str) -> Finding:
    """An endpoint that gave no usable answer."""
    return Finding(
        "endpoint",
        where,
        trouble,
        "with one endpoint less, the next failure may cost the leadership",
        "start it, correct its address in store.url, or take it out of there",
    )


def denied(where: str, needs: str, said: str) -> Finding:
    """A permission that we lack."""
    return Finding(
        "permission",
        where,
        f"not permitted: {said}",
        f"this instance can never lead: it needs {needs}",
        "grant it, or name other credentials in store.auth",
    )


def stuck_below_mark(where: str, newest: int, mark: int) -> list[Finding]:
    """Nobody can get a token above the mark. (A mark above the first one's token is none: the next in line may have raised it.)

    `newest`: the highest number the store has given so far, which tokens are taken from; 0 if that is not known.
    """
    if not 0 < newest < mark:
        return []
    return [
        Finding(
            "queue-stuck",
            where,
            f"token {mark} is on record as given, but the store has only come to {newest} so far",
            "a candidate refuses to lead with a token that is not above all earlier ones, so this queue does not move; "
            "usually the store was rebuilt, and its keys were copied",
            "when no resource remembers the old tokens any more, delete the record of the highest token; otherwise raise the "
            "store's counter by writes",
        )
    ]


def bad_mark(where: str) -> Finding:
    """The high-water mark is no number."""
    return Finding(
        "mark",
        where,
        "the record of the highest token holds no number",
        "candidates refuse to lead, because they cannot know that their token is new",
        "write the highest token ever given into it, as 20 digits; or delete it when no resource remembers tokens",
    )


def duplicates(where: str, names: list[str]) -> list[Finding]:
    """Instance names that stand twice in one election."""
    return [
        Finding(
            "duplicate-instance",
            where,
            f"{names.count(name)} candidates are called {name!r}",
            "only one of them can lead, but nobody can tell from outside which; transfers by name are refused",
            "give each daemon an `instance` of its own",
        )
        for name in sorted(set(names))
        if name and names.count(name) > 1
    ]


def foreign(where: str, what: str, remedy: str = "find out who made it, and delete it") -> Finding:
    """Something in an election's place that is no candidate."""
    return Finding(
        "foreign-entry", where, what, "it stands in the queue, and may stay there for ever: nobody behind it can lead", remedy
    )


def orphan(where: str, what: str) -> Finding:
    """A candidate that will not go away when its process does."""
    return Finding(
        "orphan",
        where,
        what,
        "when its owner dies, or is dead already, nothing removes it: nobody behind it can lead",
        "see that its owner is gone, then delete it",
    )
