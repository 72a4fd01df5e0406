"""What was claimed, from both sources: polled answers and the daemons' own journals; and where two claims share an instant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.checkers.history import Claim, merged

_JOIN_S = 0.05
"""Two overlaps of the same two terms closer than this are drawn as one."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A stretch in which two terms were claimed at once. `polled`: whether the answers alone show it, or only the journals do."""

    start_s: float
    end_s: float
    first: tuple[str, int]
    second: tuple[str, int]
    polled: bool

    @property
    def ms(self) -> float:
        """How long."""
        return (self.end_s - self.start_s) * 1000

    @property
    def text(self) -> str:
        """Who, for how long, and by what evidence."""
        (one, token), (other, other_token) = self.first, self.second
        source = "by their answers" if self.polled else "by the daemons' journals"
        return f"{one} (token {token}) and {other} (token {other_token}) for {self.ms:.0f} ms, {source}"


@dataclass(frozen=True, slots=True)
class Term:
    """One term: who led, from the first claim to the end of the last promise, by both sources. `polled`: whether a probe saw it."""

    name: str
    token: int
    start_s: float
    until_s: float
    polled: bool


@dataclass
class Claims:
    """Claims as they come. Who promises nothing (`promises` false) has claimed what its first and last yes in a row enclose."""

    promises: bool = True
    _answers: list[Claim] = field(default_factory=list)
    _journals: list[Claim] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)
    _terms: dict[int, Term] = field(default_factory=dict)

    def yes(self, name: str, token: int, asked_s: float, got_s: float, until_s: float) -> None:
        """An answer, with the end of its promise."""
        self._reach(Term(name, token, got_s, max(got_s, until_s), polled=True))
        if self.promises:
            self._answers.append(Claim("", name, token, got_s, max(got_s, until_s)))
            return
        number = self._last.get(name)
        if number is None or self._answers[number].token != token:
            self._last[name] = len(self._answers)
            self._answers.append(Claim("", name, token, got_s, got_s))
        else:
            self._answers[number] = self._answers[number]._replace(end_s=asked_s)

    def no(self, name: str) -> None:
        """An answer that is no yes, or none."""
        self._last.pop(name, None)

    def promise(self, name: str, token: int, at_s: float, until_s: float) -> None:
        """A line of a journal."""
        self._reach(Term(name, token, at_s, max(at_s, until_s), polled=False))
        self._journals.append(Claim("", name, token, at_s, max(at_s, until_s)))

    def terms(self) -> list[Term]:
        """In the order in which they began."""
        return sorted(self._terms.values(), key=lambda term: term.start_s)

    def _reach(self, new: Term) -> None:
        known = self._terms.get(new.token, new)
        start_s, until_s = min(known.start_s, new.start_s), max(known.until_s, new.until_s)
        self._terms[new.token] = Term(known.name, new.token, start_s, until_s, known.polled or new.polled)

    def overlaps(self) -> list[Overlap]:
        """Every one, in order of its beginning."""
        polled = list(_pairs(merged(self._answers)))
        found: list[Overlap] = []
        for one, other in _pairs(merged([*self._answers, *self._journals])):
            start_s, end_s = other.start_s, min(one.end_s, other.end_s)
            by_polls = any(b.start_s < end_s and start_s < min(a.end_s, b.end_s) for a, b in polled)
            keys = (one.holder, one.token), (other.holder, other.token)
            last = next((each for each in reversed(found) if {each.first, each.second} == set(keys)), None)
            if last is not None and start_s - last.end_s <= _JOIN_S:
                found.remove(last)
                start_s, end_s, by_polls = last.start_s, max(end_s, last.end_s), by_polls or last.polled
            found.append(Overlap(start_s, end_s, *keys, by_polls))
        return sorted(found, key=lambda each: each.start_s)


def _pairs(claims: Iterable[Claim]) -> Iterable[tuple[Claim, Claim]]:
    """Every two of different terms that share time; `claims` in order of their starts. All that are still open are compared."""
    live: list[Claim] = []
    for claim in claims:
        live = [other for other in live if other.end_s > claim.start_s]
        for other in live:
            if (other.holder, other.token) != (claim.holder, claim.token) and claim.end_s > claim.start_s:
                yield other, claim
        live.append(claim)
