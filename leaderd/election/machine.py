"""Order: one candidate in one election, from standing to leading to leaving.

Rule 1: every change of leadership happens in this file.
Rule 2: this file does not know which store it talks to.
Rule 3: time only enters as `now_s`.
Rule 4: the local answer turns false before any command leaves (I8): a method first changes the state, then returns commands.
"""

from __future__ import annotations

import math
from dataclasses import replace

from leaderd.election.backoff import Backoff
from leaderd.election.commands import Claim, Command, RaiseMark, Stand, Withdraw
from leaderd.election.events import Claimed, Contender, Elected, Queued, QueueSeen, StandFailed, Withdrawn
from leaderd.election.ledger import Ledger
from leaderd.election.orders import Orders
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import TRANSITIONS, ElectionView, Phase, State, Term


class Election:
    """One candidate's part in one election. Its session's epoch is handed in; a new session means `stand` anew."""

    def __init__(self, name: str, ledger: Ledger, backoff: Backoff) -> None:
        self.name = name
        self.ledger = ledger
        self.backoff = backoff
        self.phase = Phase.OUT
        self.token: int | None = None
        self.mark = 0
        self.term: Term | None = None
        self.terms = 0
        self.reason = Reason.STARTING
        self.detail = ""
        self.stand_at_s = -math.inf
        self.others_until_s = -math.inf
        """Until when somebody may lead whom the store has forgotten."""
        self.withdraw_at_s = math.inf
        self.leader: str | None = None
        self.contenders: tuple[Contender, ...] = ()
        self.led = False
        self.placed = False
        """Whether the store has ever given us a place: before that nobody can say whether we follow."""
        self.orders = Orders(name)

    # ---- standing

    def stand(self, epoch: int, now_s: float) -> list[Command]:
        """Ask for an entry in the queue, if out of it, neither cooling down nor told to stay out, and nobody else may lead of whom
        the store does not know any more."""
        # Safety: see test_standing_in_a_store_that_has_forgotten
        if self.phase is not Phase.OUT or now_s < max(self.stand_at_s, self.others_until_s) or self.orders.held is not None:
            return []
        self._enter(Phase.STANDING)
        self.stand_at_s = -math.inf
        self.token = None
        if self.backoff.attempts == 0:  # else the reason of the last refusal stays in sight until the store thinks otherwise
            self._because(Reason.STANDING)
        return [Stand(epoch, self.name)]

    def queued(self, event: Queued) -> list[Command]:
        """Our entry stands in the queue."""
        if self.phase is Phase.STANDING:
            self._enter(Phase.QUEUED)
            self.placed = True
            self.token = event.token
            self._because(Reason.IN_QUEUE)
        return []

    def elected(self, epoch: int, event: Elected, now_s: float) -> list[Command]:
        """The store shows us first: claim with proof, or refuse a token that is not above every one that led before (I4)."""
        if self.phase not in {Phase.STANDING, Phase.QUEUED, Phase.CLAIMING}:
            return []
        self.token = event.token
        self.mark = max(self.mark, event.mark)
        # Safety: see test_no_high_water_mark
        if event.token <= self.mark:
            detail = f"token {event.token} is not above the high-water mark {self.mark}: was the store restored or replaced?"
            self._because(Reason.TOKEN_NOT_ABOVE_MARK, detail)
            self.stand_at_s = now_s + self.backoff.next_s()
            raise_mark: list[Command] = [RaiseMark(epoch, self.name, self.mark)] if self.mark > event.mark else []
            return raise_mark + self._withdraw(epoch)
        self._enter(Phase.CLAIMING)
        return [Claim(epoch, self.name, event.token, event.mark)]

    def claimed(self, event: Claimed, valid_until_s: float, doubted: bool, now_s: float) -> list[Command]:
        """A quorum proved our entry: lead, until the deadline that the session's last renewal gives."""
        if self.phase is not Phase.CLAIMING or event.token != self.token:
            return []
        self.mark = max(self.mark, event.token)
        self._enter(Phase.LEADING)
        self.placed = True
        self.term = Term(event.token, now_s, valid_until_s, doubted)
        self.terms += 1
        self.backoff.reset()
        self._because(Reason.CLOCK_JUMPED if doubted else Reason.LEASE_HELD)
        return []

    def stand_failed(self, epoch: int, event: StandFailed, now_s: float) -> list[Command]:
        """Standing or claiming failed: out, and again after a while; where an entry may be left, take it out first."""
        if self.phase not in {Phase.STANDING, Phase.QUEUED, Phase.CLAIMING}:
            return []
        self._because(event.problem.reason, event.problem.detail)
        self.stand_at_s = now_s + self.backoff.next_s()
        if event.problem.outcome is Outcome.UNKNOWN:
            return self._withdraw(epoch)
        self._leave()
        return []

    # ---- leading

    def confirmed(self, token: int | None, valid_until_s: float, fresh: bool) -> None:
        """A quorum confirmed our entry with `token` in a renewal: the term reaches to the new deadline."""
        if self.term is None or self.term.token != token:
            return
        self.term = replace(self.term, valid_until_s=valid_until_s, doubted=self.term.doubted and not fresh)
        if not self.term.doubted:
            self._because(Reason.LEASE_HELD)

    def doubt(self) -> None:
        """The clock jumped: the term is not held until a fresh renewal confirms it."""
        if self.term is not None:
            self.term = replace(self.term, doubted=True)
            self._because(Reason.CLOCK_JUMPED, "wall clock and boot clock moved apart; waiting for a fresh confirmation")

    def expire(self, epoch: int, now_s: float) -> list[Command]:
        """End a term whose deadline passed although the session lives on (its entry was not confirmed); stand anew."""
        if self.term is None or now_s < self.term.valid_until_s:
            return []
        self._enter(Phase.RELEASING)
        self.term = None
        self._because(Reason.LEASE_EXPIRED, "no renewal confirmed our entry before the deadline")
        return self.release(epoch, now_s)  # promises may reach further: the deadline before this one did, if the ttl was cut

    def tidy(self, epoch: int, now_s: float, wall_s: float, instance: str) -> list[Command]:
        """Put the records in order: what is over or has arrived, if we lead; what asks for us, if we stand."""
        if self.term is not None:
            return self.orders.tidy(epoch, self.term.token, now_s, wall_s, instance)
        return self.orders.answer(epoch, now_s, wall_s, instance) if self.phase is Phase.QUEUED else []

    # ---- leaving

    def entry_gone(self, problem: Problem, now_s: float) -> list[Command]:
        """Somebody deleted or overwrote our entry: the term is over at once; stand again."""
        if self.phase in {Phase.OUT, Phase.WITHDRAWING}:
            return []
        releasing = self.phase is Phase.RELEASING
        self._leave()
        if not releasing:
            self._because(problem.reason, problem.detail)
            self.stand_at_s = max(self.stand_at_s, now_s + self.backoff.next_s())
        return []

    def session_ended(self, problem: Problem | None, others_until_s: float) -> None:
        """The session is dead: so are the term and the entry. Standing again waits for the next session; and unless it was us who
        led, until nobody else can lead of whom the store, should it have lost its data, knows nothing any more."""
        led = self.phase in {Phase.LEADING, Phase.RELEASING}
        if not led:
            self.others_until_s = max(self.others_until_s, others_until_s)
        self._leave()
        if problem is not None and self.stand_at_s < math.inf:
            forgot = not led and problem.reason is Reason.SESSION_GONE
            waiting = "; waiting for the end of any lease that the store forgot" if forgot else ""
            self._because(problem.reason, problem.detail + waiting)
        self.orders.records.session_ended()

    def resign(self, epoch: int, reason: Reason, stand_at_s: float, now_s: float) -> list[Command]:
        """Answer no from now on; release when the promises have lapsed; stand again at `stand_at_s` (infinity: not by itself)."""
        self.stand_at_s = stand_at_s
        if self.phase is Phase.LEADING:
            self._enter(Phase.RELEASING)
            self.term = None
            self._because(reason)
            return self.release(epoch, now_s)
        if self.phase in {Phase.STANDING, Phase.QUEUED, Phase.CLAIMING}:
            self._because(reason)
            return self._withdraw(epoch)
        if self.phase is Phase.OUT:
            self._because(reason)
        return []

    def obey(self, epoch: int, now_s: float, wall_s: float, instance: str) -> list[Command]:
        """Do as the records say: out, while the election is paused or leadership is on its way to somebody else."""
        leading = self.phase in {Phase.LEADING, Phase.RELEASING}
        reason, detail = self.orders.judge(wall_s, instance, leading=leading)
        if reason is None:
            if self.reason in {Reason.PAUSED, Reason.STEPPED_ASIDE} and self.stand_at_s == math.inf:
                self._because(Reason.CORDONED)
            return []
        commands: list[Command] = []
        if self.phase not in {Phase.OUT, Phase.RELEASING, Phase.WITHDRAWING}:
            commands = self.resign(epoch, reason, self.stand_at_s, now_s)
        self._because(reason, detail)
        return commands

    def release(self, epoch: int, now_s: float, *, forced: bool = False) -> list[Command]:
        """Give the entry back to the store, once nothing promised is left."""
        # Safety: see test_release_before_promises_lapsed
        if self.phase is Phase.RELEASING and (forced or self.ledger.lapsed(now_s)):
            return self._withdraw(epoch)
        return []

    def withdrawn(self, event: Withdrawn, now_s: float) -> list[Command]:
        """Our entry is out; or that is not certain, and must be tried again, lest an orphan of ours block the queue."""
        if self.phase is not Phase.WITHDRAWING:
            return []
        if event.problem is not None:
            self.withdraw_at_s = now_s + self.backoff.next_s()
            self.detail = event.problem.detail
            return []
        self._leave()
        return []

    def withdraw_again(self, epoch: int, now_s: float) -> list[Command]:
        """Repeat an uncertain withdrawal whose back-off has passed."""
        if self.phase is not Phase.WITHDRAWING or now_s < self.withdraw_at_s:
            return []
        self.withdraw_at_s = math.inf
        return [Withdraw(epoch, self.name, self.token)]

    # ---- seeing

    def seen(self, event: QueueSeen) -> None:
        """Take note of who leads and who waits. Information only, but for the leader's token: it is one to stay above (I4)."""
        self.contenders, self.led = event.contenders, event.led
        first = event.contenders[0] if event.led and event.contenders else None
        if first is not None and not first.own and first.token is not None:
            # A store restored from an old snapshot has forgotten its mark; whoever saw a later leader has not.
            # Safety: see test_token_of_a_seen_leader_forgotten
            self.mark = max(self.mark, first.token)
        self.leader = first.instance if first is not None else None
        if self.phase is Phase.QUEUED and self.leader is not None:
            self._because(Reason.OTHER_LEADER)

    def next_deadline_s(self, session_live: bool, wall_ahead_s: float = 0.0) -> float:
        """The next instant at which this machine has something to do; infinity if none."""
        match self.phase:
            case Phase.OUT:
                held_until_s = self.orders.held_until_s - wall_ahead_s if self.orders.held is not None else -math.inf
                return max(self.stand_at_s, held_until_s, self.others_until_s) if session_live else math.inf
            case Phase.LEADING:
                return self.term.valid_until_s if self.term is not None else math.inf
            case Phase.RELEASING:
                return self.ledger.until_s
            case Phase.WITHDRAWING:
                return self.withdraw_at_s
            case _:
                return math.inf

    def view(self, resting: State, silence: Reason | None, instance: str, index: int) -> ElectionView:
        """What can be seen of this election. `silence`: why the store confirms nothing. The core counts the index."""
        leading = self.term is not None
        return ElectionView(
            name=self.name,
            phase=self.phase,
            resting=resting,
            reason=silence if leading and silence is not None and self.reason is Reason.LEASE_HELD else self.reason,
            detail=self.detail,
            term=self.term,
            silent=silence is not None,
            leader=instance if leading else self.leader,
            contenders=self.contenders,
            led=self.led or leading,
            index=index,
            terms=self.terms,
            standing=self.stand_at_s < math.inf,
            pause=self.orders.shown_pause,
            transfer=self.orders.transfer,
            records=self.orders.records.seen,
            settled=self.orders.records.settled,
        )

    # ---- inside

    def _enter(self, phase: Phase) -> None:
        assert phase in TRANSITIONS[self.phase], f"{self.name}: {self.phase} -> {phase} is not a legal transition"
        self.phase = phase

    def _leave(self) -> None:
        if self.phase is not Phase.OUT:
            self._enter(Phase.OUT)
        self.term = None
        self.token = None
        self.withdraw_at_s = math.inf
        # Most stores tell only those who stand: who led when we left may lead no more, and nobody would tell us.
        self.leader, self.contenders, self.led = None, (), False

    def _withdraw(self, epoch: int) -> list[Command]:
        self._enter(Phase.WITHDRAWING)
        self.term = None
        self.withdraw_at_s = math.inf
        return [Withdraw(epoch, self.name, self.token)]

    def _because(self, reason: Reason, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
