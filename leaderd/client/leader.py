"""`Leader`: the question "may I act?" in an app's own words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import wraps
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from leaderd.client.errors import DaemonUnreachable, NotLeader
from leaderd.client.lease import LeaseMap
from leaderd.client.places import find_socket
from leaderd.client.term import Term, as_query

if TYPE_CHECKING:
    from leaderd.client.hold import Guard, Hold, Holding
    from leaderd.client.watch import Watch, Watcher

P = ParamSpec("P")
R = TypeVar("R")
Skip = Callable[[NotLeader], object]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_FOR_EVER_NS = 2**63
_term = tuple.__new__
"""`_term(Term, pair)` is `Term(*pair)` without the call of a function in Python: a quarter of what a look costs."""
_CO_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`; the module takes longer to import than all of this."""


class Leader:
    """One election as this instance sees it. Safe for threads and forks; outlives restarts of the daemon.

    `name`: the election; may be left out when the daemon has exactly one, but only a named one is checked through the mapped file.
    `socket`: the daemon's socket, else `LEADERD_SOCKET`, else the default path. `runtime_dir`: where the state files are, else the
    socket's directory. `LEADERD_DISABLED=leader|follower` answers without any daemon, for laptops. Raises `ValueError` for a name
    that no election can have, or another value of that variable.
    """

    def __init__(self, name: str | None = None, socket: str | None = None, runtime_dir: str | None = None) -> None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no election name: letters, digits, dot, dash, underscore; at most 63")
        self.disabled = os.environ.get("LEADERD_DISABLED", "")
        if self.disabled not in {"", "leader", "follower"}:
            raise ValueError(f"LEADERD_DISABLED is {self.disabled!r}: it may be leader or follower")
        self.name = name
        self._socket = socket or (f"{runtime_dir}/leaderd.sock" if runtime_dir else None)
        self._directory = runtime_dir
        self._map: LeaseMap | None = None

    def is_leader(self) -> bool:
        """Whether this instance leads now: a look, for each step anew. False when in doubt; never raises for want of a daemon."""
        if (lease := self._map) is not None and lease.token() is not None:
            return True
        return self.look() is not None

    @property
    def token(self) -> int | None:
        """The fencing token of the term held now, None when there is none."""
        if (lease := self._map) is not None and (token := lease.token()) is not None:
            return token
        term = self.look()
        return None if term is None else term.token

    def look(self) -> Term | None:
        """The term held now, by the mapped lease, else by the socket."""
        if self.disabled:
            return self._pretended()
        lease = self._map or self._mapped()
        if lease is not None and (found := lease.look()) is not None:
            return _term(Term, found) if found[0] else None
        try:
            return self.require(promise=0)
        except (NotLeader, DaemonUnreachable):
            return None

    def require(self, promise: str | float | None = None, *, token: int | None = None) -> Term:
        """A term that nobody else's can overlap for as long as `promise` says (seconds or `30s`; default: the daemon's).

        `token`: only that same term. Raises `NotLeader`, also when the lease has less left, and `DaemonUnreachable`.
        """
        if self.disabled:
            if (pretended := self._pretended()) is None:
                raise NotLeader("LEADERD_DISABLED=follower", "disabled")
            return pretended
        query = [] if promise is None else [f"promise={as_query(promise)}", f"min_valid={as_query(promise)}"]
        query += [] if token is None else [f"token={token}"]
        path = "/is-leader" + (f"/{self.name}" if self.name else "") + ("?" + "&".join(query) if query else "")
        from leaderd.client.wire import get  # not needed by whoever only looks

        where = self._where()
        asked_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        status, body = get(where, path)
        if status == 503 and "reason" in body:
            raise NotLeader(f"not the leader of {body.get('election')}: {body['reason']}", str(body["reason"]))
        if status != 200 or body.get("leader") is not True:
            raise DaemonUnreachable(f"the daemon at {where} says: {body.get('detail') or body.get('title') or status}")
        # From before the question was sent, so that it holds whatever clock namespace the daemon is in.
        left_ns = int(body["lease_remaining_ms" if promise == 0 else "valid_for_ms"]) * 1_000_000
        return Term(int(body["token"]), asked_ns + left_ns)

    async def arequire(self, promise: str | float | None = None, *, token: int | None = None) -> Term:
        """`require`, without blocking the loop."""
        import asyncio  # 30 ms that an app without it is spared

        return await asyncio.to_thread(self.require, promise, token=token)

    def only(self, min_valid: str | float | None = None, on_skip: Skip | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function, plain or async, to run only when a promise of `min_valid` is had; else skip it: it never waits.

        A skipped call returns what `on_skip(reason)` does, None by default. A daemon that is not there is a reason to skip.
        """

        def skip(error: Exception) -> Any:  # noqa: ANN401 - whatever the caller's function returns
            refusal = error if isinstance(error, NotLeader) else NotLeader(str(error), "daemon_unreachable")
            return on_skip(refusal) if on_skip is not None else None

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if getattr(getattr(function, "__code__", None), "co_flags", 0) & _CO_COROUTINE:

                @wraps(function)
                async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - as above
                    try:
                        await self.arequire(min_valid)
                    except (NotLeader, DaemonUnreachable) as error:
                        return skip(error)
                    return await cast("Any", function(*args, **kwargs))

                return cast("Callable[P, R]", run_async)

            @wraps(function)
            def run(*args: P.args, **kwargs: P.kwargs) -> R:
                try:
                    self.require(min_valid)
                except (NotLeader, DaemonUnreachable) as error:
                    return cast("R", skip(error))
                return function(*args, **kwargs)

            return run

        return decorate

    def guard(self, promise: str | float | None = None, min_valid: str | float | None = None) -> Guard:
        """Work in flight that a hand-over waits for: `with leader.guard(promise="5s") as term:`, or `async with`.

        The daemon keeps promising the term for `promise` ahead (default: its usual one) until the block ends, and takes the promise
        back at once then. When leadership is to be given up meanwhile, `term.ending` turns true, and the block has what is left of
        the promise to finish: `term.require()` before each step raises when that is over. `min_valid`: begin only with so much
        of the lease left. Entering raises `NotLeader` or `DaemonUnreachable`.
        """
        from leaderd.client.hold import Guard

        return Guard(self, promise, min_valid)

    def hold(self, promise: str | float | None = None, min_valid: str | float | None = None) -> Hold:
        """Work that lives as long as the term: `async with leader.hold() as term:`. A `guard` that also cancels the task.

        The task is cancelled when leadership is being given up, or when the daemon has not been heard of until shortly before the
        promise ends; cleaning up has what is left of the promise. The block then raises `NotLeader`.
        """
        from leaderd.client.hold import Hold

        return Hold(self, promise, min_valid)

    def watch(self) -> Watch:
        """How things stand now, then each change of it: `for change in leader.watch()`, or `async for`. Never ends by itself.

        Heard from the daemon as it happens; without one, not leading, from the lease's deadline at the latest.
        """
        from leaderd.client.watch import Watch

        return Watch(self.open_watch)

    # ---- for `guard`, `hold` and `watch`; a `FakeLeader` has its own

    def open_hold(self, promise: str | float | None, min_valid: str | float | None, on_ending: Callable[[], None]) -> Holding:
        """Begin to hold the term. Raises `NotLeader` and `DaemonUnreachable`."""
        from leaderd.client.hold import HeldTerm, Listener, Pretence
        from leaderd.client.line import Line

        if self.disabled:
            return Pretence(HeldTerm(*self.require()))
        query = [] if promise is None else [f"promise={as_query(promise)}"]
        query += [] if min_valid is None else [f"min_valid={as_query(min_valid)}"]

        def connect(token: int | None) -> Line:
            where = self._where()
            named = [*query, *([] if token is None else [f"token={token}"])]
            return Line(
                where, f"/v1/elections/{self.name or self._only_one(where)}/hold" + ("?" + "&".join(named) if named else "")
            )

        return Listener(connect, on_ending)

    def open_watch(self) -> Watcher:
        """Begin to watch."""
        from leaderd.client.line import Line
        from leaderd.client.watch import Constant, Watcher

        if self.disabled:
            return Constant(self._pretended())
        return Watcher(lambda: Line(where := self._where(), f"/v1/events?promise=0&election={self.name or self._only_one(where)}"))

    def _where(self) -> str:
        return self._socket or find_socket()

    def _only_one(self, where: str) -> str:
        """The name of the daemon's only election."""
        from leaderd.client.wire import get

        _, body = get(where, "/is-leader?promise=0")
        if "election" not in body:
            raise DaemonUnreachable(f"the daemon at {where} says: {body.get('detail') or body.get('title')}")
        return str(body["election"])

    def _pretended(self) -> Term | None:
        return Term(1, _FOR_EVER_NS) if self.disabled == "leader" else None

    def _mapped(self) -> LeaseMap | None:
        if self.name is None:
            return None  # which election that is, the daemon knows
        directory = self._directory or os.path.dirname(self._socket or find_socket())
        found = LeaseMap(f"{directory}/{self.name}.lease")
        # The daemon may come later, and elsewhere: what is not there yet is looked for again.
        if os.path.exists(found.path):
            self._map = found
        return found
