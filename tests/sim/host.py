"""A host: clocks, the daemon's process with the real core, board and runner in it, and what can happen to both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leaderd.board import Board
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import DrainRequested, Event, Started, TimeReached
from leaderd.election.timing import Timing
from leaderd.runner import Runner
from leaderd.stores.base import Identity
from tests.sim.clocks import HostClock
from tests.sim.evidence import Evidence
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.stores.driver import SimStore

DRAIN_GRACE_S = 5.0


@dataclass(frozen=True)
class HostConfig:
    """What one candidate is."""

    name: str
    instance: str
    elections: tuple[str, ...]
    timing: Timing


class Process:
    """One life of the daemon. Dead, it does nothing any more; what is under way to it is dropped."""

    def __init__(self, host: Host, life: int, make_store: Callable[[Process], SimStore]) -> None:
        config = host.config
        self.host = host
        self.holder = f"{host.config.name}#{life}"
        self.identity = Identity(config.instance, f"{host.world.rng.getrandbits(64):016x}")
        self.alive = True
        self.draining = False
        self.store = make_store(self)
        seed = host.world.rng.getrandbits(48)
        core_config = CoreConfig(config.instance, config.elections, config.timing, self.store.rule, seed)
        self.core = Core(core_config)
        self.board = Board(self.core.snapshot(host.clock.now_s()), self.core.ledgers, config.timing.promise_s)
        self.runner = Runner(self.core, self.store, self.board, host.clock, self._arm, self._on_crash)
        self.store.connect(self.deliver)
        self.board.on_given_back = lambda: self.deliver(TimeReached())
        self._armed_s: float | None = None

    def deliver(self, event: Event) -> None:
        """Hand an event to the runner."""
        host = self.host
        if host.world.verbose:
            host.world.note("{} <- {}", self.holder, event)
        self.runner.deliver(event)

    def _arm(self, at_s: float) -> None:
        """Wake the core at or after the boot-clock instant `at_s`, later calls replacing earlier ones."""
        if at_s == self._armed_s:
            return
        self._armed_s = at_s
        if at_s < 1e18:
            host = self.host
            delay_s = max(at_s - host.clock.now_s(), 0.0) + 1e-6
            host.timer(self, delay_s, self._on_time, at_s)

    def _on_time(self, at_s: float) -> None:
        if at_s == self._armed_s:
            self._armed_s = None
            self.deliver(TimeReached())

    def _on_crash(self, error: BaseException) -> None:
        self.host.crashed(error)


class Host:
    """The machine of one candidate. `freeze` stops the process, `suspend` and `pause` the machine, `kill` ends the process."""

    def __init__(
        self, world: World, config: HostConfig, clock: HostClock, evidence: Evidence, make_store: Callable[[Process], SimStore]
    ) -> None:
        self.world = world
        self.config = config
        self.clock = clock
        self.evidence = evidence
        self.process: Process | None = None
        self.frozen_until_s = 0.0
        self.crash: BaseException | None = None
        self.on_thaw: list[Callable[[], None]] = []
        """Called when the process runs again, before anything that was waiting for it: an app asks at that instant."""
        self.on_life: list[Callable[[Process], None]] = []
        self.timers_first = False
        """Whether overdue timers run before messages that came in while frozen; asyncio reads its sockets first."""
        self._make_store = make_store
        self._lives = 0
        self._late_s = 0.0
        """By how much timers set before now are late: the monotonic clock they count by stood still for so long."""
        self._backlog: list[tuple[bool, Process, Callable[..., None], tuple[Any, ...]]] = []

    @property
    def running(self) -> bool:
        """Whether the process executes instructions now."""
        return self.process is not None and self.frozen_until_s <= self.world.now_s

    # ---- the process's life

    def start(self) -> None:
        """Start the daemon, if none runs."""
        if self.process is None:
            self._lives += 1
            self.process = process = Process(self, self._lives, self._make_store)
            self.world.note("{} starts", process.holder)
            for begin in self.on_life:
                begin(process)
            process.deliver(Started())

    def kill(self) -> None:
        """SIGKILL: what it sent is on its way, what it would hear is lost."""
        process, self.process = self.process, None
        if process is not None:
            self.world.note("{} is killed", process.holder)
            process.alive = False
            self._backlog.clear()

    def drain(self) -> None:
        """SIGTERM: drain, then exit."""
        process = self.process
        if process is None or process.draining:
            return
        process.draining = True
        self.world.note("{} gets SIGTERM", process.holder)
        promised_s = max(0.0, *(ledger.until_s - self.clock.now_s() for ledger in process.core.ledgers.values()), 0.0)
        process.board.subscribe(lambda: self._exit_if_finished(process))
        self.run(process, process.deliver, DrainRequested())
        self.timer(process, promised_s + DRAIN_GRACE_S, self._exit, process)

    def _exit_if_finished(self, process: Process) -> None:
        if process.board.snapshot.finished:
            self.world.after(0.001, self._exit, process)

    def _exit(self, process: Process) -> None:
        if self.process is process:
            self.world.note("{} exits", process.holder)
            self.process = None
            process.alive = False
            self._backlog.clear()

    def crashed(self, error: BaseException) -> None:
        """The runner gave up."""
        self.crash = error
        self.world.note("{} CRASHES: {!r}", self.config.name, error)

    # ---- stopping it

    def freeze(self, for_s: float) -> None:
        """SIGSTOP for a while: messages and timers wait."""
        until_s = self.world.now_s + for_s
        if until_s > self.frozen_until_s:
            self.frozen_until_s = until_s
            self.world.at(until_s, self._thaw)

    def thaw(self) -> None:
        """SIGCONT now, for however long it was to be frozen."""
        if self.frozen_until_s > self.world.now_s:
            self.frozen_until_s = self.world.now_s
            self._thaw()

    def suspend(self, for_s: float) -> None:
        """The machine sleeps: the boot clock counts on, the monotonic clock does not, so timers are late by as much."""
        self.freeze(for_s)
        self.world.at(self.world.now_s + for_s, self._slept, for_s)

    def _slept(self, for_s: float) -> None:
        self._late_s += for_s
        self.clock.suspended_s += for_s * self.clock.rate

    def pause(self, for_s: float) -> None:
        """The virtual machine is stopped: even the boot clock stands still. Promises are void while nobody can act on them."""
        if self.clock.stopped:
            return
        self.freeze(for_s)
        self.clock.stop()
        if self.process is not None:
            self.evidence.stop_at(self.process.holder, self.world.now_s)
        # Before `_thaw`, whose event comes at the same instant or later.
        self.world.at(self.world.now_s + for_s - 1e-9, self._go_on)

    def _go_on(self) -> None:
        self._late_s += self.clock.go_on()

    def _thaw(self) -> None:
        if self.frozen_until_s > self.world.now_s:
            return
        if self.process is not None:
            for ask in self.on_thaw:
                ask()
        # Messages may make the process freeze again, or die: the rest then goes on waiting, or is dropped.
        waiting, self._backlog = self._backlog, []
        for timer, process, what, args in sorted(waiting, key=lambda entry: entry[0] is not self.timers_first):
            if timer and self._late_s > 0.0:
                self.world.after(self.world.rng.random() * 0.01, self._run, True, process, what, args)
            else:
                self._run(timer, process, what, args)

    # ---- what the process does

    def run(self, process: Process, what: Callable[..., None], *args: Any) -> None:
        """Have the process do something: now, or when it runs again, or never."""
        self._run(False, process, what, args)

    def timer(self, process: Process, delay_s: float, what: Callable[..., None], *args: Any) -> None:
        """Have the process do something in `delay_s` of its monotonic clock."""
        self.world.after(delay_s / self.clock.rate, self._ring, self._late_s, process, what, args)

    def _ring(self, late_s: float, process: Process, what: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not process.alive:
            return
        if self._late_s > late_s:
            self.world.after(self._late_s - late_s, self._ring, self._late_s, process, what, args)
            return
        self._run(True, process, what, args)

    def _run(self, timer: bool, process: Process, what: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not process.alive:
            return
        if self.frozen_until_s > self.world.now_s:
            self._backlog.append((timer, process, what, args))
        else:
            what(*args)
