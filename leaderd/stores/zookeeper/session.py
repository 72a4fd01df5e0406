"""One session in ZooKeeper: opened on a client of its own, renewed by proposals to the quorum, never used again once it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from kazoo import exceptions as kz

from leaderd.election.commands import Claim, Entry, RaiseMark, Renew, Stand, Withdraw, WriteRecord
from leaderd.election.events import (
    Connected,
    Disconnected,
    Event,
    RecordRefused,
    RecordSeen,
    RecordWritten,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.base import NowS
from leaderd.stores.stranger import explained
from leaderd.stores.zookeeper import paths, transport
from leaderd.stores.zookeeper.contest import Contest
from leaderd.stores.zookeeper.errors import SKIPPED, BadAnswerError, problem_of
from leaderd.stores.zookeeper.records import Records

T = TypeVar("T")
_GONE = "ZooKeeper ended the session: expired, or closed by somebody else"


class Session:
    """A session from its first connection attempt to its close. `connection` counts the losses of its connection."""

    def __init__(
        self,
        epoch: int,
        ttl_s: float,
        path: str,
        instance: str,
        now_s: NowS,
        sink: Callable[[Event], None],
        crashed: Callable[[BaseException], None],
        make_client: Callable[[Callable[[str], None]], transport.Client],
    ) -> None:
        """Raises what `make_client` raises."""
        self.epoch = epoch
        self.value = instance.encode()
        self.now_s = now_s
        self.call_s = max(ttl_s / 6.0, 0.5)
        self.confirmed_s = 0.0
        """When the last renewal that was confirmed was sent."""
        self.id = 0
        self.connection = 0
        self._open_s = max(ttl_s / 3.0, 1.0)
        self._patience_s = max(ttl_s / 5.0, 0.5)
        self._path = path
        self._base = f"/{path}" if path else "/"
        self._sink = sink
        self._crashed = crashed
        self._contests: dict[str, Contest] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._ended: Problem | None = None
        self._opened = False
        self._cuts = 0
        self._up_since_s: float | None = None
        self._let_in = asyncio.Event()
        self.client = make_client(self._state_changed)
        self.records = Records(self, paths.records_directory(path), self._record_seen)

    # ---- what the contests use

    def emit(self, event: Event) -> None:
        """Deliver an event, unless the session is closed."""
        if not self._closed:
            self._sink(event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the session closes; an unexpected exception goes to the daemon."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def look(self) -> None:
        """A node of ours vanished: ask at once whether the session went with it."""
        await self._prove(())

    # ---- life

    async def open(self) -> None:
        """Connect, and report what the server granted. Within the bound kazoo goes on trying: a store that is back is met soon."""
        self.client.start()
        try:
            async with asyncio.timeout(self._open_s):
                await self._let_in.wait()
                if self._ended is None:
                    await self.client.exists(self._base)  # answered after the credentials were looked at
        except (kz.KazooException, TimeoutError) as error:
            problem = self._ended or self.client.trouble
            if problem is None and isinstance(error, kz.KazooException):
                problem = problem_of(error, f"opening a session on {', '.join(self.client.endpoints)}")
            self._ended = await explained(problem or self._nobody(), "zookeeper", self.client.reached)
        granted = self.client.granted
        if self._ended is None and granted is None:
            # Safety: see test_kazoo_is_still_as_we_know_it
            self._ended = Problem(Outcome.FAILED, Reason.TTL_REFUSED, "the negotiated session timeout is not known")
        if self._ended is not None or granted is None:
            self.emit(SessionFailed(self.epoch, self._ended or self._nobody()))
            return
        self.id = granted.session
        self._opened = True
        # Safety: see test_asked_timeout_instead_of_negotiated
        self.emit(SessionOpened(self.epoch, granted.asked_at_s, granted.ttl_s))
        self.spawn(self.records.follow())

    def submit(self, command: Renew | Stand | Claim | Withdraw | RaiseMark | WriteRecord) -> None:
        """Carry out one command."""
        match command:
            case Renew(entries=entries):
                self.spawn(self._renew(entries))
            case Stand(election=election):
                self.spawn(self._contest(election).stand())
            case Claim(election=election, token=token, mark=mark):
                self.spawn(self._contest(election).claim(token, mark))
            case Withdraw(election=election, token=token):
                self.spawn(self._contest(election).withdraw(token))
            case RaiseMark(election=election, mark=mark):
                self.spawn(self._contest(election).raise_mark(mark))
            case WriteRecord():
                self.spawn(self._write(command))

    def close(self, *, end: bool) -> None:
        """Deliver nothing more, stop everything. `end`: end the session on the server too, and its nodes with it."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.client.close(end=end)

    # ---- renewing

    async def _renew(self, entries: tuple[Entry, ...]) -> None:
        sent_at_s = self.now_s()
        before_s = self._ttl_s()
        lost = await self._prove(entries)
        if isinstance(lost, Problem):
            if lost.reason is not Reason.SESSION_GONE:
                self.emit(RenewFailed(self.epoch, sent_at_s, lost))
            return
        for entry in entries:
            if entry.election in lost:
                self._contest(entry.election).lost(entry.token)
        owned = frozenset(entry.election for entry in entries) - lost
        # A reconnection negotiates anew, and which of the two the timekeeper took is not known.
        self.confirmed_s = sent_at_s
        self.emit(Renewed(self.epoch, sent_at_s, min(before_s, self._ttl_s()), owned, lost))
        await self._look_at_one()

    async def _prove(self, entries: tuple[Entry, ...]) -> frozenset[str] | Problem:
        """Have a quorum say which of `entries` are gone.

        A `multi` of nothing but checks gets a transaction number and is proposed like a write, also when a check fails; pings and
        reads are answered by the nearest server from memory, also by one that was cut off.
        """
        # Safety: see test_ownership_by_name
        mine = {e.election: contest for e in entries if (contest := self._contest(e.election)).token == e.token}
        gone = {entry.election for entry in entries} - mine.keys()
        try:
            while True:
                unproven = [contest.prove_owner() for contest in mine.values() if contest.unproven()]
                if unproven:
                    await self._answered(asyncio.gather(*unproven))
                asked = [(election, node) for election, contest in mine.items() if (node := contest.node) is not None]
                gone |= mine.keys() - {election for election, _ in asked}
                failed = await self._check([node for _, node in asked] or [self._base])
                # Safety: see test_an_answer_that_comes_with_the_end_of_the_session_proves_nothing
                if self._ended is not None:
                    return self._ended
                # Safety: see test_a_check_that_crossed_a_reconnection_proves_nothing
                if any(contest.unproven() for contest in mine.values()):
                    continue
                if failed is None or not asked:
                    # With nothing of ours to check, any answer is the quorum's. What was found gone meanwhile is proven by none.
                    return frozenset(gone | {election for election, node in asked if mine[election].node != node})
                at, error = failed
                if not isinstance(error, kz.NoNodeError):
                    return problem_of(error, f"checking {asked[at][1]}")
                gone.add(asked[at][0])
                del mine[asked[at][0]]
        except kz.KazooException as error:
            problem = problem_of(error, "renewing")
            if problem.reason is Reason.SESSION_GONE:
                self._end(problem)
            return problem

    async def _check(self, nodes: list[str]) -> tuple[int, Exception] | None:
        """Propose that all `nodes` exist; the first one that does not, and the server's word on it."""

        def build(multi: Any) -> None:  # noqa: ANN401 - kazoo is untyped
            for node in nodes:
                multi.check(node, -1)

        # Safety: see test_heartbeat_without_quorum_check
        results = await self._answered(self.client.multi(build))
        self._cuts = 0
        if len(results) != len(nodes):
            raise BadAnswerError(f"{len(results)} results of {len(nodes)} checks")
        failed = [(i, r) for i, r in enumerate(results) if isinstance(r, Exception)]
        telling = [(i, error) for i, error in failed if not isinstance(error, SKIPPED)]
        return next(iter(telling or failed), None)

    async def _answered(self, asked: Awaitable[T]) -> T:
        """Wait for an answer for as long as it takes, but not on a connection that has fallen silent: that one is given up.

        Each request makes kazoo believe that the connection lives: a silent one it would keep for 2/3 of the ttl or, with further
        requests, for ever. The request is never repeated here; on a connection that was given up it fails. Patience doubles each
        time, lest a store that is merely slow never get to answer.
        """
        future = asyncio.ensure_future(asked)  # noqa: TID251 - awaited right here
        future.add_done_callback(_looked_at)  # given up, it may still fail: nobody waits for it then
        patience_s = self._patience_s * 2**self._cuts
        asked_at_s = self.now_s()
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=patience_s)
                silent_s = self.now_s() - max(asked_at_s, self._up_since_s or 0.0)
                if not future.done() and self._up_since_s is not None and silent_s >= patience_s:
                    self._cuts = min(self._cuts + 1, 8)
                    self._up_since_s = None
                    self.client.cut()
            return await future
        finally:
            future.cancel()

    async def _look_at_one(self) -> None:
        """Each renewal looks at one queue: one whose last look failed, else in turn. State is level-triggered."""
        contests = [contest for contest in self._contests.values() if contest.node is not None]
        if contests:
            self._turn += 1
            stale = next((contest for contest in contests if contest.stale), None)
            await (stale or contests[self._turn % len(contests)]).look()

    # ---- inside

    def recent(self, proven_s: float) -> bool:
        """Whether a renewal, or the proposal sent at `proven_s`, was confirmed and sent not longer than half the ttl ago.

        What was told since then is not old.
        """
        # Safety: see test_old_news_is_claimed
        return self.now_s() - max(self.confirmed_s, proven_s) <= self._ttl_s() / 2

    async def _write(self, command: WriteRecord) -> None:
        epoch, election, kind = self.epoch, command.election, command.kind
        written = await self.records.write(election, kind, command.value, command.version)
        if isinstance(written, int):
            self.emit(RecordWritten(epoch, election, kind, written))
        else:
            self.emit(RecordRefused(epoch, election, kind, written))

    def _record_seen(self, election: str, kind: str, value: bytes | None, version: int) -> None:
        self.emit(RecordSeen(self.epoch, election, kind, value, version))

    def _ttl_s(self) -> float:
        granted = self.client.granted
        return granted.ttl_s if granted is not None else 0.0

    def _nobody(self) -> Problem:
        where = ", ".join(self.client.endpoints)
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"{where}: no server let us in within {self._open_s:g} s")

    def _contest(self, election: str) -> Contest:
        if election not in self._contests:
            self._contests[election] = Contest(self, paths.place_of(self._path, election))
        return self._contests[election]

    def _state_changed(self, state: str) -> None:
        if self._closed:
            return
        if state == transport.CONNECTED:
            self._up_since_s = self.now_s()
            if self._opened:
                self.emit(Connected(self.epoch))
                for contest in self._contests.values():
                    self.spawn(contest.look())
            self._let_in.set()
        elif state == transport.SUSPENDED:
            self._up_since_s = None
            self.connection += 1
            self.records.disconnected()
            for contest in self._contests.values():
                contest.disconnected()
            if not self._opened:
                return
            detail = f"connection lost: {self.client.last_word or 'no answer'}"
            self.emit(Disconnected(self.epoch, Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, detail)))
        elif state == transport.LOST:
            trouble = self.client.trouble
            refused = trouble if trouble is not None and trouble.reason is Reason.AUTH_FAILED else None
            self._end(refused or Problem(Outcome.FAILED, Reason.SESSION_GONE, _GONE))
            self._let_in.set()

    def _end(self, problem: Problem) -> None:
        if self._ended is None:
            self._ended = problem
            if self._opened:
                self.emit(SessionGone(self.epoch, problem))

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)


def _looked_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
