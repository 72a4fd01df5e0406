"""The daemon: the only file that knows every part. Puts them together, starts them in order, and takes them down in order.

Start: listeners, store driver, then the first event; until then the answer is "starting". Stop (SIGTERM): every
answer turns "not leader" at once; the store is released when the promises have lapsed; then the session is closed, then the
listeners. A second SIGTERM releases at once. An unexpected exception: no answer is yes any more, then exit 70; the store is *not*
released, because promises may be outstanding, and its own timeout is later than any of them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from leaderd import __version__, log
from leaderd.actions import Actions
from leaderd.board import Board
from leaderd.clock import BootClock, jump_limit_s
from leaderd.config.model import Config, HostPort
from leaderd.config.problems import ConfigProblem
from leaderd.configured import configured_store
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import DrainRequested, ReleaseForced, Started, TimeReached
from leaderd.errors import EXIT_CONFIG, EXIT_INTERNAL, EXIT_OK, Fatal
from leaderd.hooks import Hooks, HookSet, hook_bound_s, parse_hook
from leaderd.journal import Journal
from leaderd.metrics import Metrics
from leaderd.notify import ServiceManager
from leaderd.observing import Afterwards
from leaderd.recorder import Recorder
from leaderd.runner import Runner
from leaderd.stores.base import Identity
from leaderd.surfaces.crowded import Crowded
from leaderd.surfaces.descriptors import raise_limit
from leaderd.surfaces.files import StateFileError, StateFiles
from leaderd.surfaces.http import Health, HttpSurfaces, UnixAddress
from leaderd.surfaces.view import StoreFacts, View
from leaderd.timer import DeadlineTimer
from leaderd.transitions import TransitionLog

if TYPE_CHECKING:
    from leaderd.surfaces.grpc import GrpcSurface
    from leaderd.tracing import Tracing

Reload = Callable[[], Config | list[ConfigProblem]]

_LOG = logging.getLogger("leaderd")
_MAX_TIMER_WAIT_S = 5.0
_DRAIN_GRACE_S = 5.0
"""For how long after the last promise a store may take to confirm the release before we leave it to its timeout."""
_SIGNAL_ECHO_S = 0.25
"""A second SIGTERM sooner than this is the echo of the first: `timeout` and some inits signal the process and then its group."""
_RELOADED_AT_ONCE = {"log.level", "log.format"}


def main(config: Config, reload: Reload) -> int:
    """Run the daemon until it is told to stop; returns its exit code. Raises `Fatal` when it cannot start."""
    output = log.start(config.log.format, config.log.level)
    raise_limit()
    try:
        return asyncio.run(Daemon(config, reload, output).run())
    except KeyboardInterrupt:  # before the signal handlers are in place
        return EXIT_OK
    finally:
        output.close()


class Daemon:
    """One candidate as a process."""

    def __init__(self, config: Config, reload: Reload, output: log.LogOutput) -> None:
        self._config = config
        self._load = reload
        self._output = output
        self._reloading: asyncio.Task[None] | None = None
        self._manager = ServiceManager(os.environ)
        self._clock = BootClock(jump_limit_s(config.timing.margin_s, config.timing.ttl_s))
        self._identity = Identity(config.instance, secrets.token_hex(8))
        self._store = configured_store(config, self._identity, self._clock)
        names = tuple(election.name for election in config.elections)
        seed = int.from_bytes(os.urandom(8))
        self._core = Core(CoreConfig(config.instance, names, config.timing, self._store.rule, seed))
        self._board = Board(self._core.snapshot(self._clock.now_s()), self._core.ledgers, config.timing.promise_s)
        self._timer = DeadlineTimer(self._clock, self._on_time, _MAX_TIMER_WAIT_S)
        self._stop = asyncio.Event()
        self._exit_code = EXIT_OK
        self._draining_since_s: float | None = None
        self._afterwards = Afterwards(self._clock, lambda error: self._runner.crash(error))
        transitions = TransitionLog(self._tell, config.timing.ttl_s)
        catch_up = self._afterwards.flush
        metrics = Metrics(self._board, self._clock, self._last_answer_s, lambda: self._timer.worst_late_s, catch_up)
        hooks = HookSet(**{name: parse_hook(words) for name, words in config.hooks.items()})
        self._hooks = Hooks(hooks, hook_bound_s(config.timing.ttl_s), _say)
        self._journal = Journal(self._afterwards.wall_s, catch_up)
        recording = (self._make_recorder(),) if self._store.keeps_records else ()
        self._tracing = self._make_tracing()
        tracing = () if self._tracing is None else (self._tracing,)
        self._afterwards.observers = (transitions, metrics, self._journal, *recording, *tracing)
        told = (self._afterwards,), (self._hooks,) if config.hooks else ()
        self._runner = Runner(self._core, self._store, self._board, self._clock, self._timer.arm, self._on_crash, *told)
        self._actions = Actions(
            self._runner.deliver,
            self._board,
            self._clock,
            self._journal,
            keeps_records=self._store.keeps_records,
            shows_queue=self._store.kind != "consul",  # where nobody can see who waits
        )
        self._store.on_crash = self._runner.crash
        self._board.on_jump = self._on_jump
        self._board.on_given_back = self._on_given_back
        self._started = False
        self._surfaces = self._make_surfaces(metrics)
        self._files = self._make_files()
        self._grpc = self._make_grpc(metrics)

    async def run(self) -> int:
        """From the first to the last breath."""
        self._handle_signals()
        asyncio.get_running_loop().set_exception_handler(Crowded())
        try:
            if self._grpc is not None:
                await self._grpc.start()
            await self._surfaces.start()
            self._start_files()
            await self._store.start(self._runner.deliver)
            self._greet()
            unsubscribe = self._board.subscribe(self._on_published)
            self._runner.deliver(Started())
            self._started = True
            self._manager.ready()
            self._manager.watch(self._decides)
            # What start-up made lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            await self._stop.wait()
            unsubscribe()
        finally:
            self._afterwards.flush()
            self._manager.close()
            self._timer.stop()
            await self._store.aclose()
            await self._hooks.aclose()
            if self._files is not None:
                await self._files.stop()
            if self._grpc is not None:
                await self._grpc.stop()
            await self._surfaces.stop()
            if self._tracing is not None:
                await self._tracing.aclose()
            self._afterwards.flush()
        _LOG.info("stopped")
        return self._exit_code

    def _make_surfaces(self, metrics: Metrics) -> HttpSurfaces:
        listen, socket = self._config.listen, self._config.listen.socket
        return HttpSurfaces(
            self._board,
            self._clock,
            http=(listen.http.host, listen.http.port) if listen.http is not None else None,
            ops=(listen.ops.host, listen.ops.port) if listen.ops is not None else None,
            unix=UnixAddress(socket.path, socket.mode, socket.group_id) if socket is not None else None,
            allowed_hosts=self._config.http.hosts,
            incarnation=self._identity.incarnation,
            instance_uid=self._config.instance_uid,
            store=self._store_facts(),
            timing=self._config.timing,
            health=Health(
                late_s=self._timer.late_s,
                limit_s=2.0 * self._config.timing.ttl_s,
                crashed=lambda: self._runner.crashed,
                started=lambda: self._started,
            ),
            metrics=metrics,
            actions=self._actions,
            operators=self._config.operators.uids,
        )

    def _make_grpc(self, metrics: Metrics) -> GrpcSurface | None:
        listener = self._config.listen.grpc
        if listener is None:
            return None
        from leaderd.surfaces.grpc import GrpcSurface, GrpcTls  # here: it costs memory that most have no use for

        place, tls = listener.address, None
        if listener.cert_file is not None and listener.key_file is not None:
            tls = GrpcTls(listener.cert_file, listener.key_file, listener.client_ca_file)
        return GrpcSurface(
            self._make_view(),
            self._clock,
            metrics,
            address=(place.host, place.port)
            if isinstance(place, HostPort)
            else UnixAddress(place.path, place.mode, place.group_id),
            tls=tls,
            actions=self._actions,
            operators=self._config.operators.uids,
            directory=self._config.runtime_dir,
        )

    def _make_tracing(self) -> Tracing | None:
        if self._config.tracing.export == "off":
            return None
        from leaderd.tracing import Tracing  # here: who does not want it has none of it in memory

        return Tracing(self._clock, self._identity.instance, self._identity.incarnation, self._store.kind, _say)

    def _make_recorder(self) -> Recorder:
        def later(seconds: float, call: Callable[[], None]) -> None:
            asyncio.get_running_loop().call_later(seconds, self._guarded, call)

        return Recorder(lambda event: self._runner.deliver(event), self._afterwards.wall_s, later)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - as in the runner: whatever it is, leadership ends first
            self._runner.crash(error)

    def _make_view(self) -> View:
        facts, who = self._store_facts(), (self._identity.incarnation, self._config.instance_uid)
        return View(self._board, self._clock, facts, self._config.timing, *who)

    def _make_files(self) -> StateFiles | None:
        """Beside the socket, and readable by those who may connect to it: the socket is how apps find them."""
        socket = self._config.listen.socket
        if socket is None:
            return None
        return StateFiles(self._make_view(), socket.path.parent, 0o600 | (socket.mode & 0o222) << 1, socket.group_id)

    def _start_files(self) -> None:
        if self._files is not None:
            try:
                self._files.start()
            except StateFileError as error:
                raise Fatal(str(error), EXIT_CONFIG) from None

    def _store_facts(self) -> StoreFacts:
        return StoreFacts(self._store.kind, self._store.rule, self._last_answer_s)

    def _last_answer_s(self) -> float | None:
        return self._store.traffic.last_answer_s

    # ---- events from outside

    def _on_time(self) -> None:
        self._runner.deliver(TimeReached())

    def _on_jump(self) -> None:
        # An answer saw it first, and is being given: take note right after it, and ask the store for a fresh confirmation.
        asyncio.get_running_loop().call_soon(self._on_time)

    def _decides(self) -> bool:
        """Whether the election is being attended to: what feeds the service manager's watchdog."""
        return not self._runner.crashed and self._timer.late_s() <= 2.0 * self._config.timing.ttl_s

    def _on_given_back(self) -> None:
        # A release may have waited for nothing else.
        asyncio.get_running_loop().call_soon(self._on_time)

    def _on_published(self) -> None:
        if self._board.snapshot.finished:
            self._stop.set()

    def _on_crash(self, error: BaseException) -> None:
        self._afterwards.flush()  # what led to it stands before it
        self._exit_code = EXIT_INTERNAL
        log.event(_LOG, logging.CRITICAL, f"internal error, leadership ended: {type(error).__name__}: {error}")
        _LOG.debug("internal error", exc_info=error)
        self._stop.set()

    def _handle_signals(self) -> None:
        def handle(number: signal.Signals) -> None:
            try:
                self._on_reload_signal() if number is signal.SIGHUP else self._on_stop_signal(number)
            except Exception as error:  # noqa: BLE001 - asyncio would log it and go on, deaf to the signal
                self._runner.crash(error)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, handle, number)

    def _on_stop_signal(self, number: signal.Signals) -> None:
        if self._draining_since_s is not None:
            if self._clock.now_s() - self._draining_since_s < _SIGNAL_ECHO_S:
                return
            log.event(_LOG, logging.WARNING, f"{number.name} again: releasing at once, whatever was promised")
            self._runner.deliver(ReleaseForced())
            self._leave_in(1.0)
            return
        now_s = self._draining_since_s = self._clock.now_s()
        promised_s = max(0.0, *(ledger.until_s - now_s for ledger in self._core.ledgers.values()))
        self._runner.deliver(DrainRequested())
        self._afterwards.tell(partial(self._tell, logging.INFO, f"{number.name}: draining", promised_ms=round(promised_s * 1000)))
        self._manager.stopping(promised_s + 2 * _DRAIN_GRACE_S)
        self._leave_in(promised_s + _DRAIN_GRACE_S)

    def _tell(self, level: int, message: str, **fields: object) -> None:
        log.event_of(self._afterwards.wall_s(), _LOG, level, message, **fields)

    def _leave_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._stop.set)

    def _on_reload_signal(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        # In a thread: files can hang (a network disk), and the loop has an election to hold.
        self._manager.reloading()
        try:
            loaded = await asyncio.to_thread(self._load)
        finally:
            self._manager.ready()
        if isinstance(loaded, list):
            for problem in loaded:
                log.event(_LOG, logging.ERROR, f"reload refused: {problem}")
            return
        changed = self._config.changed_keys(loaded)
        self._output.configure(loaded.log.format, loaded.log.level)
        later = [key for key in changed if key not in _RELOADED_AT_ONCE]
        message = "reloaded; TLS and credential files are read at each new connection"
        log.event(_LOG, logging.INFO, message, changed=changed, needs_restart=later)

    def _addresses(self) -> dict[str, tuple[str, int] | str]:
        grpc = {} if self._grpc is None else {"grpc": self._grpc.address}
        return {**self._surfaces.addresses, **grpc}

    def _greet(self) -> None:
        store = self._config.store
        log.event(
            _LOG,
            logging.INFO,
            f"leaderd {__version__} starting",
            instance=self._identity.instance,
            incarnation=self._identity.incarnation,
            **({} if self._config.instance_uid is None else {"instance_uid": self._config.instance_uid}),
            store=store.url,
            elections=[election.name for election in self._config.elections],
            listening={name: _shown(address) for name, address in self._addresses().items()},
            ttl_s=self._config.timing.ttl_s,
        )
        odd = [self._surfaces.warning, self._grpc.warning if self._grpc is not None else None]
        for warning in (*self._config.warnings, *filter(None, odd)):
            log.event(_LOG, logging.WARNING, warning)
        if store.address.kind == "local" and not store.defaulted:  # else the configuration has said so
            log.event(_LOG, logging.WARNING, "the local store protects one host: other hosts hold elections of their own")


def _shown(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        return address
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _say(level: int, message: str, **fields: object) -> None:
    log.event(_LOG, level, message, **fields)
