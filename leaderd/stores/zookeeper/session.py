"""One session in ZooKeeper: opened on a client of its own, renewed by proposals to the quorum, never used again once it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kazoo import exceptions as kz

from leaderd.election.commands import Claim, Entry, RaiseMark, Renew, Stand, Withdraw
from leaderd.election.events import Connected, Disconnected, Event, Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.base import NowS
from leaderd.stores.zookeeper import paths, transport
from leaderd.stores.zookeeper.contest import Contest
from leaderd.stores.zookeeper.errors import problem_of

_SKIPPED = (kz.RolledBackError, kz.RuntimeInconsistency)
"""What a failed `multi` answers for operations before and after the one that failed."""


class Session:
    """A session from its first connection attempt to its close."""

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
        self.epoch = epoch
        self.value = instance.encode()
        self.now_s = now_s
        self.call_s = max(ttl_s / 6.0, 0.5)
        self._open_s = max(ttl_s / 3.0, 1.0)
        self.id = 0
        self._ttl_s = ttl_s
        self._path = path
        self._base = f"/{path}" if path else "/"
        self._sink = sink
        self._crashed = crashed
        self._contests: dict[str, Contest] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._gone = False
        self._connected = asyncio.Event()
        self._suspended = False
        self.client = make_client(self._state_changed)

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
        task.add_done_callback(self._ended)

    async def look(self) -> None:
        """A node of ours vanished: ask at once whether the session went with it."""
        await self._prove(())

    # ---- life

    async def open(self) -> None:
        """Connect, and report what the server granted. Within the bound kazoo goes on trying: a store that is back is met soon."""
        self.client.start()
        try:
            async with asyncio.timeout(self._open_s):
                await self._connected.wait()
        except TimeoutError:
            self.emit(SessionFailed(self.epoch, self._why_not_open()))
            return
        granted_s, asked_at_s = self.client.negotiated_s, self.client.asked_at_s
        if granted_s is None or asked_at_s is None:
            problem = Problem(Outcome.FAILED, Reason.TTL_REFUSED, "the negotiated session timeout is not known")
            self.emit(SessionFailed(self.epoch, problem))
            return
        self.id = self.client.session_id
        self.emit(SessionOpened(self.epoch, asked_at_s, granted_s))

    def submit(self, command: Renew | Stand | Claim | Withdraw | RaiseMark) -> None:
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

    def close(self, *, end: bool) -> None:
        """Deliver nothing more, stop everything. `end`: end the session on the server too, and its nodes with it."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.client.close(end=end)

    # ---- renewing

    async def _renew(self, entries: tuple[Entry, ...]) -> None:
        sent_at_s = self.now_s()
        lost = await self._prove(entries)
        if isinstance(lost, Problem):
            if lost.reason is not Reason.SESSION_GONE:
                self.emit(RenewFailed(self.epoch, sent_at_s, lost))
            return
        for entry in entries:
            if entry.election in lost:
                self._contest(entry.election).lost(entry.token)
        owned = frozenset(entry.election for entry in entries) - lost
        self.emit(Renewed(self.epoch, sent_at_s, self.client.negotiated_s or 0.0, owned, lost))
        await self._look_at_next()

    async def _prove(self, entries: tuple[Entry, ...]) -> frozenset[str] | Problem:
        """Have a quorum say which of `entries` are gone. Waits for as long as the connection is silent, and asks only once.

        A `multi` of nothing but checks gets a transaction number and is proposed like a write, also when a check fails; pings and
        reads are answered by the nearest server from memory, also by one that was cut off. Repeated requests would switch off
        kazoo's detection of dead connections.
        """
        gone = {entry.election for entry in entries if self._contest(entry.election).token != entry.token}
        asked = [(e.election, node) for e in entries if (node := self._contest(e.election).node) and e.election not in gone]
        while True:
            nodes = [node for _, node in asked] or [self._base]

            def build(multi: Any, nodes: list[str] = nodes) -> None:  # noqa: ANN401 - kazoo is untyped
                for node in nodes:
                    multi.check(node, -1)

            try:
                # Safety: see test_heartbeat_without_quorum_check
                results = await self.client.multi(build)
            except kz.KazooException as error:
                problem = problem_of(error, "renewing")
                if problem.reason is Reason.SESSION_GONE:
                    self._end(problem)
                return problem
            # Safety: see test_no_stale_session_check
            if self.client.session_id != self.id:
                problem = Problem(Outcome.FAILED, Reason.SESSION_GONE, "the session expired; the client has another one")
                self._end(problem)
                return problem
            failed = [i for i, result in enumerate(results) if isinstance(result, Exception) and not isinstance(result, _SKIPPED)]
            if not failed or not asked:
                return frozenset(gone)  # with nothing of ours to check, any answer is the quorum's
            first = results[failed[0]]
            if not isinstance(first, kz.NoNodeError):
                return problem_of(first, f"checking {asked[failed[0]][1]}")
            gone.add(asked.pop(failed[0])[0])

    async def _look_at_next(self) -> None:
        """Each renewal looks at one queue, in turn: what a lost watch event would have told is known a few periods later."""
        contests = [contest for contest in self._contests.values() if contest.node is not None]
        if contests:
            self._turn += 1
            await contests[self._turn % len(contests)].look()

    # ---- inside

    def _why_not_open(self) -> Problem:
        last, where = self.client.last_word, ", ".join(self.client.endpoints)
        if "invalid" in last:
            detail = f"{where}: what answers there is not ZooKeeper ({last})"
            return Problem(Outcome.FAILED, Reason.WRONG_PROTOCOL, detail)
        detail = f"{where}: no ZooKeeper server let us in within {self._open_s:g} s" + (f"; last: {last}" if last else "")
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, detail)

    def _contest(self, election: str) -> Contest:
        if election not in self._contests:
            self._contests[election] = Contest(self, paths.place_of(self._path, election))
        return self._contests[election]

    def _state_changed(self, state: str) -> None:
        if self._closed:
            return
        if state == transport.CONNECTED:
            self._on_connected()
        elif state == transport.SUSPENDED:
            self._suspended = True
            last = self.client.last_word or "no answer"
            self.emit(Disconnected(self.epoch, Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"connection lost: {last}")))
        elif state == transport.LOST and self._connected.is_set():
            self._end(
                Problem(Outcome.FAILED, Reason.SESSION_GONE, "ZooKeeper ended the session: expired, or closed by somebody else")
            )

    def _on_connected(self) -> None:
        if not self._connected.is_set():
            self._connected.set()
        elif self.id and self.client.session_id != self.id:
            self._end(Problem(Outcome.FAILED, Reason.SESSION_GONE, "the session expired while the connection was lost"))
        elif self._suspended:
            self._suspended = False
            self.emit(Connected(self.epoch))
            for contest in self._contests.values():
                self.spawn(contest.reconnected())

    def _end(self, problem: Problem) -> None:
        if not self._gone:
            self._gone = True
            self.emit(SessionGone(self.epoch, problem))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)
