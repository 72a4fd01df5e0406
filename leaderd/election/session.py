"""Liveness: the daemon's one session in the store, shared by all its elections.

Rule 1: a session is good until `valid_until_s`, counted from the *send* of the last confirmed renewal.
Rule 2: once that instant has passed, or the store said "gone", the session is dead for ever: it is closed, never renewed.
Rule 3: at most one renewal is outstanding, and an unanswered one is never repeated.
Rule 4: where the store may forget a renewal that a node took, the session is counted from one it has surely learned of.
Rule 5: the end of a session that was good says that the store has forgotten, and perhaps not only us (`others_until_s`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from leaderd.election.backoff import Backoff
from leaderd.election.commands import CloseSession, Command, Entry, OpenSession, Renew
from leaderd.election.events import Renewed, RenewFailed, SessionOpened
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.timing import StoreRule, Timing

_REFUSALS = frozenset({Reason.AUTH_FAILED, Reason.PERMISSION_DENIED, Reason.WRONG_PROTOCOL, Reason.STORE_ERROR})
"""What a store that does not confirm may say instead of nothing: it is not silent then, and somebody has something to mend."""


class SessionPhase(StrEnum):
    """Where the daemon stands with its session."""

    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a confirmed renewal proved: the entries asked about when it was sent, and the deadline it gives them.

    `fresh` is false while all that is sure was sent before a clock jump: it proves nothing about the time after.
    """

    asked: tuple[Entry, ...]
    valid_until_s: float
    fresh: bool


class Session:
    """The session machine. The core drives it; it decides nothing about elections."""

    def __init__(self, timing: Timing, rule: StoreRule, backoff: Backoff) -> None:
        self.timing = timing
        self.rule = rule
        self.backoff = backoff
        self.phase = SessionPhase.CLOSED
        self.epoch = 0
        self._granted(0.0)
        self.valid_until_s = -math.inf
        self.confirmed_sent_s: float | None = None
        self.touched_s = -math.inf
        self.unsure: deque[float] = deque()
        self.open_at_s = -math.inf
        self.renew_at_s = math.inf
        self.asked: tuple[Entry, ...] | None = None
        self.asked_at_s = -math.inf
        self.doubted_since_s: float | None = None
        self.failing = False
        self.connected = False
        self.problem: Problem | None = None
        self.ever_live = False
        self.closing = False
        """Whether it has ended here, and the store has not been told yet (`close`)."""

    @property
    def live(self) -> bool:
        """Whether a session is open; whether it is still good says `valid_until_s`."""
        return self.phase is SessionPhase.LIVE

    def silence(self, now_s: float) -> Reason | None:
        """Why the store confirms nothing, if that is so: a renewal failed, or is out for longer than a period."""
        overdue = self.asked is not None and now_s >= self.asked_at_s + self.period_s
        if not (self.failing or overdue or not self.connected):
            return None
        return self.problem.reason if self.problem is not None and self.problem.reason in _REFUSALS else Reason.STORE_SILENT

    def open(self, now_s: float) -> list[Command]:
        """Open a session if none is open or opening and the back-off has passed."""
        if self.phase is not SessionPhase.CLOSED or self.closing or now_s < self.open_at_s:
            return []
        self.phase = SessionPhase.OPENING
        self.epoch += 1
        self.doubted_since_s = None
        return [OpenSession(self.epoch, self.timing.ttl_s)]

    def opened(self, event: SessionOpened, now_s: float) -> Problem | None:
        """Take the granted session; or say why it is unfit, and must be ended."""
        valid_for_s = self.timing.valid_for_s(self.rule, event.ttl_s)
        if valid_for_s <= 0.0:
            detail = f"the store granted a ttl of {event.ttl_s:g} s, which leaves no safe validity: ask for a longer one"
            return Problem(Outcome.FAILED, Reason.TTL_REFUSED, detail)
        if now_s >= event.sent_at_s + valid_for_s:
            return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "opening the session took longer than it is valid")
        self.phase = SessionPhase.LIVE
        self._granted(event.ttl_s)
        self.connected, self.failing, self.ever_live = True, False, True
        self.problem = None
        self.unsure.clear()
        self.touched_s = event.sent_at_s
        self._confirm(event.sent_at_s)
        if self.doubted_since_s is not None:
            self.renew_at_s = -math.inf
        return None

    def renew(self, entries: tuple[Entry, ...], now_s: float) -> list[Command]:
        """Send the next renewal if it is due and none is outstanding."""
        if not self.live or self.asked is not None or now_s < self.renew_at_s:
            return []
        self.asked, self.asked_at_s = entries, now_s
        return [Renew(self.epoch, entries)]

    def renewed(self, event: Renewed) -> Confirmation:
        """A renewal was confirmed: count the deadline anew, from its send."""
        asked, self.asked = self.asked or (), None
        self._granted(event.ttl_s)
        self.connected, self.failing = True, False
        self.problem = None
        self._touch(event.sent_at_s)
        # Safety: see test_reply_dated_deadline
        self._confirm(event.sent_at_s)
        self.backoff.reset()
        # Safety: see test_renewal_of_before_the_jump_believed
        fresh = self.doubted_since_s is None or self.touched_s >= self.doubted_since_s
        if self.doubted_since_s is not None and event.sent_at_s < self.doubted_since_s:
            self.renew_at_s = -math.inf
        if fresh:
            self.doubted_since_s = None
        return Confirmation(asked, self.valid_until_s, fresh)

    def renew_failed(self, event: RenewFailed, now_s: float) -> None:
        """A renewal failed: the deadline stands as it is; try again soon, as long as it has not passed."""
        self.asked = None
        self.failing = True
        self.problem = event.problem
        self.renew_at_s = now_s + self.period_s * (0.125 + 0.125 * self.backoff.draw())

    def reconnected(self) -> None:
        """The transport is back in the same session: have it proven at once."""
        self.connected = True
        self.renew_at_s = -math.inf

    def doubt(self, now_s: float) -> None:
        """The clock jumped: only a renewal sent from now on proves anything; send one at once."""
        if self.phase is not SessionPhase.CLOSED:
            self.doubted_since_s = now_s
        if self.live:
            self.renew_at_s = -math.inf

    def expired(self, now_s: float) -> bool:
        """Whether the deadline has passed without a confirmation."""
        # Safety: see test_renewing_a_dead_session
        return self.live and now_s >= self.valid_until_s

    def others_until_s(self, now_s: float) -> float:
        """Until when somebody else may lead of whom the store knows nothing any more, seeing that it has ended our session.

        Before the deadline it was wiped or restored, or somebody revoked the session (in Consul a node that leaves, too): we
        cannot tell. Whoever led may have renewed until now. At the deadline it had been silent: whoever led renewed for the
        last time within a period of our own last renewal, for everybody renews once in each. A store that has forgotten nothing
        keeps the others in their place.
        """
        if not self.live or self.confirmed_sent_s is None:
            return -math.inf
        if now_s < self.valid_until_s:
            return now_s + self.ttl_s
        return self.confirmed_sent_s + self.ttl_s + self.period_s

    def end(self, problem: Problem | None, now_s: float) -> None:
        """Put the session away for good, and set the back-off for the next one, which waits until this one is closed."""
        was_live = self.live
        self.phase = SessionPhase.CLOSED
        self.valid_until_s = -math.inf
        self.asked = None
        self.renew_at_s = math.inf
        self.connected, self.failing = False, True
        self.problem = problem
        # A session that lived is replaced at once: its loss says nothing against the store. Failed attempts are spaced.
        self.open_at_s = now_s if was_live and self.backoff.attempts == 0 else now_s + self.backoff.next_s()
        if was_live and self.backoff.attempts == 0:
            self.backoff.attempts = 1
        self.closing = True

    def close(self) -> list[Command]:
        """Let the store have what is left of an ended session. Only when nothing promised is left: the store may have erred, or
        somebody in between, who said that the session was gone."""
        if not self.closing:
            return []
        self.closing = False
        return [CloseSession(self.epoch)]

    def next_deadline_s(self, now_s: float) -> float:
        """The next instant at which this machine has something to do; infinity if none."""
        if self.phase is SessionPhase.CLOSED:
            return math.inf if self.closing else self.open_at_s
        if self.phase is SessionPhase.OPENING:
            return math.inf
        if self.asked is None:
            return min(self.valid_until_s, self.renew_at_s)
        overdue_s = self.asked_at_s + self.period_s
        return min(self.valid_until_s, overdue_s if overdue_s > now_s else math.inf)

    def _granted(self, ttl_s: float) -> None:
        """Take the ttl that the store grants, and with it the seconds between two renewals."""
        self.ttl_s = ttl_s
        self.period_s = self.timing.renewal_period_s(self.rule, ttl_s)

    def _touch(self, sent_at_s: float) -> None:
        """Take note of a confirmed renewal; older ones by more than the store's lag are sure to have reached its timekeeper."""
        self.unsure.append(sent_at_s)
        # Safety: see test_unsure_touch_counted
        while self.unsure and self.unsure[0] <= sent_at_s - self.rule.lag_fraction * self.ttl_s:
            self.touched_s = self.unsure.popleft()

    def _confirm(self, sent_at_s: float) -> None:
        self.confirmed_sent_s = sent_at_s
        self.valid_until_s = self.timing.valid_until_s(self.rule, self.ttl_s, sent_at_s, self.touched_s)
        self.renew_at_s = sent_at_s + self.period_s
