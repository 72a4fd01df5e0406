"""The apps beside a daemon, and the readers of its state file: everybody who ever believes that this host leads.

Three kinds of evidence. An *answer* is a promise: from the instant it was given until it lapses on this host's clock, whatever
becomes of the daemon meanwhile. A *hold* is one that may be extended, and ends when it is given back. A *published term* is what
a reader of the state file goes by: until its deadline, or until something else is published.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaderd.board import Hold
from leaderd.election.events import Elected, QueueSeen
from leaderd.election.state import Term
from tests.sim.evidence import Evidence
from tests.sim.host import Host, Process


@dataclass
class Working:
    """An app at work for as long as its hold lets it."""

    process: Process
    hold: Hold
    since_s: float
    until_s: float
    """Until when it may go on, in true time as it was when it was told so."""


class Apps:
    """All apps of one host."""

    def __init__(self, host: Host, evidence: Evidence, ask_every_s: float) -> None:
        self._host = host
        self._evidence = evidence
        self._every_s = ask_every_s
        self._published: dict[str, tuple[Term, float]] = {}
        self._process: Process | None = None
        self._working: list[Working] = []
        host.on_life.append(self._on_life)
        host.on_thaw.append(self._ask_all)
        host.world.after(host.world.rng.random() * ask_every_s, self._tick)

    # ---- answers

    def _tick(self) -> None:
        world = self._host.world
        if self._host.running:
            self._ask_all()
            self._work_on()
        world.after(self._every_s * (0.5 + world.rng.random()), self._tick)

    def _ask_all(self) -> None:
        process = self._host.process
        if process is None or process.runner.crashed:
            return
        rng = self._host.world.rng
        for election in self._evidence.elections:
            roll = rng.random()
            promise_s = None if roll < 0.5 else 0.0 if roll < 0.7 else 1e9 if roll < 0.75 else rng.random() * 4.0
            if roll > 0.9:
                self._begin(process, election, promise_s)
            else:
                self._ask(process, election, promise_s)

    def _ask(self, process: Process, election: str, promise_s: float | None) -> None:
        host = self._host
        instant = host.clock.instant()
        answer = process.board.answer(election, instant, promise_s=promise_s)
        if not answer.leader:
            return
        assert answer.token is not None
        assert answer.promised_until_s is not None
        now_s = host.world.now_s
        until_s = host.clock.true_s(answer.promised_until_s)
        self._evidence.claim(election, process.holder, answer.token, now_s, until_s)
        if host.world.verbose:
            host.world.note("{} says yes for {} with {} until {:.4f}", process.holder, election, answer.token, until_s)

    # ---- holds

    def _begin(self, process: Process, election: str, promise_s: float | None) -> None:
        answer, hold = process.board.hold(election, self._host.clock.instant(), promise_s=promise_s)
        if hold is not None:
            self._working.append(Working(process, hold, self._host.world.now_s, self._host.clock.true_s(hold.until_s)))
            self._host.world.note("{} holds {} with {}", process.holder, election, answer.token)

    def _work_on(self) -> None:
        world = self._host.world
        for working in tuple(self._working):
            roll = world.rng.random()
            if not working.process.alive or working.process.runner.crashed:
                self._end(working, working.until_s)
            elif roll < 0.06:  # its line is cut: it is at work all the same, for as long as it was promised
                self._end(working, working.until_s)
                working.hold.lose()
            elif roll < 0.3:
                self._end(working, min(world.now_s, working.until_s))
                working.hold.release()
            elif roll < 0.8 and working.hold.extend(self._host.clock.instant()).leader:
                working.until_s = self._host.clock.true_s(working.hold.until_s)

    def _end(self, working: Working, until_s: float) -> None:
        self._working.remove(working)
        self._evidence.claim(working.hold.name, working.process.holder, working.hold.token, working.since_s, until_s)

    # ---- what is published

    def _on_life(self, process: Process) -> None:
        self._flush()
        self._process = process
        process.board.subscribe(lambda: self._on_published(process))

    def _on_published(self, process: Process) -> None:
        host, now_s = self._host, self._host.world.now_s
        for election, view in process.board.snapshot.elections.items():
            term = view.term
            last = self._published.get(election)
            if last is not None and last[0] is term:
                continue
            if last is not None:
                self._close(process, election, *last)
            if term is not None and term.held(host.clock.now_s()):
                self._published[election] = (term, now_s)
                if last is None or last[0].token != term.token:
                    host.world.note("{} LEADS {} with token {}", process.holder, election, term.token)
                    self._ask(process, election, None)
            elif last is not None:
                del self._published[election]
                host.world.note("{} ends {} ({})", process.holder, election, view.reason)

    def _close(self, process: Process, election: str, term: Term, since_s: float) -> None:
        until_s = min(self._host.clock.true_s(term.valid_until_s), self._host.world.now_s)
        self._evidence.claim(election, process.holder, term.token, since_s, until_s)

    def paused(self) -> None:
        """The machine stands still from now on: nobody reads anything; what was published until now stands as evidence."""
        self._flush()

    def _flush(self) -> None:
        """A process ended, and its file stays as it is: its readers believe it until its deadline."""
        process, clock = self._process, self._host.clock
        if process is None:
            return
        for election, (term, since_s) in self._published.items():
            until_s = (
                clock.true_s(term.valid_until_s)
                if not process.alive
                else min(clock.true_s(term.valid_until_s), self._host.world.now_s)
            )
            self._evidence.claim(election, process.holder, term.token, since_s, until_s)
        self._published.clear()

    def finish(self) -> None:
        """The run is over."""
        self._flush()
        for working in tuple(self._working):
            self._end(working, working.until_s)


def learn(evidence: Evidence, process: Process, event: object) -> None:
    """Note what token this process was told of, so that the checker knows what it must not go below."""
    match event:
        case Elected(election=election, mark=mark):
            pass
        case QueueSeen(election=election, contenders=(first, *_), led=True) if first.token is not None and not first.own:
            mark = first.token
        case _:
            return
    known = evidence.known.get(election)
    if known is not None and mark > known.get(process.holder, 0):
        known[process.holder] = mark
