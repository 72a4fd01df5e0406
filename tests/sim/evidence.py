"""What the checkers judge: every claim made by anybody, in true time, and when somebody could have led."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.checkers import Claim, Finding, Window
from chaos.checkers.tokens import IN_FLIGHT_S

POINT_S = 1e-7
"""The length of a claim that promises nothing: the instant of the answer itself."""


class Evidence:
    """The history of one run."""

    def __init__(self, elections: Iterable[str]) -> None:
        self.elections = tuple(elections)
        self._excused: list[Claim] = []
        self._excuses: list[tuple[str, int, float, float, float]] = []
        self.findings: list[Finding] = []
        self.restores: dict[str, list[tuple[float, int]]] = {name: [] for name in self.elections}
        self.known: dict[str, dict[str, int]] = {name: {} for name in self.elections}
        """By election and holder: the highest token that this process led with, or was told of."""
        self._claims: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
        self._able_since: dict[str, float] = {}
        self._windows: list[tuple[str, Window]] = []

    # ---- claims

    def claim(self, election: str, holder: str, token: int, start_s: float, end_s: float) -> None:
        """`holder` claims `election` for [start_s, end_s) of true time."""
        end_s = max(end_s, start_s + POINT_S)
        intervals = self._claims.setdefault((election, holder, token), [])
        if not intervals:
            known = self.known[election].get(holder, 0)
            if known > token:
                text = f"{election}: {holder} leads with token {token}, though it knew of {known}"
                self.findings.append(Finding("token", start_s, text))
            self.known[election][holder] = max(known, token)
        if intervals:
            last_start_s, last_end_s = intervals[-1]
            if last_start_s <= start_s <= last_end_s:
                if end_s > last_end_s:
                    intervals[-1] = (last_start_s, end_s)
                return
        intervals.append((start_s, end_s))

    def stop_at(self, holder: str, at_s: float) -> None:
        """The holder's whole machine stops existing for a while at `at_s`: what it promised is void from then on."""
        for key, intervals in self._claims.items():
            if key[1] == holder:
                kept = [(start_s, min(end_s, at_s)) for start_s, end_s in intervals if start_s < at_s]
                intervals[:] = kept

    def claims(self) -> list[Claim]:
        """Everything claimed, in order."""
        return [Claim(*key, *interval) for key, intervals in self._claims.items() for interval in intervals]

    def leader_at(self, election: str, at_s: float) -> str | None:
        """Who claims the election at `at_s` (the host's name), if anybody: for faults that aim."""
        for (name, holder, _), intervals in self._claims.items():
            if name == election and intervals and intervals[-1][0] <= at_s + 1e-3 and intervals[-1][1] > at_s - 0.5:
                return holder.partition("#")[0]
        return None

    # ---- what no lease can prevent

    def excuse(self, election: str, token: int, from_s: float, for_s: float, *, proven: bool, news_s: float = IN_FLIGHT_S) -> None:
        """An operator took the entry with `token` away: who claims with it is excused for `for_s`.

        `proven`: the store had confirmed the claim already. Otherwise only who claims now is excused: whoever has not yet claimed
        has no promise outstanding, and must notice. `news_s`: how old the news may be by which somebody proven begins to claim.
        """
        holders = [
            holder
            for (name, holder, its), intervals in self._claims.items()
            if name == election and its == token and intervals and intervals[-1][1] > from_s - for_s
        ]
        if proven:
            self._excuses.append((election, token, from_s, from_s + for_s, news_s))
        self._excused += [Claim(election, holder, token, from_s, from_s + for_s) for holder in holders]

    def excused(self) -> list[Claim]:
        """Every stretch that is excused."""
        late = [
            Claim(*key, from_s, to_s)
            for election, token, from_s, to_s, _ in self._excuses
            for key in self._claims
            if key[0] == election and key[2] == token
        ]
        return self._excused + late

    def belated(self, claim: Claim) -> bool:
        """Whether an operator had taken the entry away before this claim began, while the store's confirmation was on its way: by
        then another may lead, with a token above it, until the news of the deletion arrives as well."""
        return any(
            election == claim.election and token == claim.token and from_s <= claim.start_s < from_s + news_s
            for election, token, from_s, _, news_s in self._excuses
        )

    # ---- who could have led

    def able(self, candidate: str, now_s: float) -> None:
        """From now on this candidate, and the store it sees, are healthy."""
        self._able_since.setdefault(candidate, now_s)

    def unable(self, candidate: str, now_s: float) -> None:
        """The candidate, or its store, is disturbed."""
        since_s = self._able_since.pop(candidate, None)
        if since_s is not None:
            self._windows.append((candidate, Window(since_s, now_s)))

    def windows(self) -> list[Window]:
        """Every stretch in which some one candidate was healthy throughout."""
        return [window for _, window in self._windows]
