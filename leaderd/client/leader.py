"""`Leader`: the question "may I act?" in an app's own words."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from functools import wraps
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from leaderd.client.errors import DaemonUnreachable, NotLeader
from leaderd.client.lease import LeaseMap
from leaderd.client.wire import find_socket, get

P = ParamSpec("P")
R = TypeVar("R")
Skip = Callable[[NotLeader], object]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_FOR_EVER_NS = 2**63
_LOOK_EVERY_S = 0.05
_CO_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`; the module takes longer to import than all of this."""


class Term(NamedTuple):
    """A yes: the fencing token to send along, and until when it holds (ns on CLOCK_BOOTTIME).

    From `require`, the instant is promised by the daemon; from `look`, it is that of the lease, which a release may cut short.
    """

    token: int
    valid_until_ns: int

    @property
    def valid_for_s(self) -> float:
        """Seconds left; 0 when it is over."""
        return max(0.0, (self.valid_until_ns - clock_gettime_ns(CLOCK_BOOTTIME)) / 1e9)

    def check(self) -> None:
        """Raise `NotLeader` once the instant has passed."""
        if clock_gettime_ns(CLOCK_BOOTTIME) >= self.valid_until_ns:
            raise NotLeader(f"term {self.token} is over, or was promised no longer", "lease_expired")


class Change(NamedTuple):
    """What `watch` tells: whether we lead now, and in which term."""

    leader: bool
    token: int | None


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
        return self.look() is not None

    @property
    def token(self) -> int | None:
        """The fencing token of the term held now, None when there is none."""
        term = self.look()
        return None if term is None else term.token

    def look(self) -> Term | None:
        """The term held now, by the mapped lease, else by the socket."""
        if self.disabled:
            return self._pretended()
        lease = self._map or self._mapped()
        if lease is not None and (found := lease.look()) is not None:
            return Term(*found) if found[0] else None
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
        query = [] if promise is None else [f"promise={_duration(promise)}", f"min_valid={_duration(promise)}"]
        query += [] if token is None else [f"token={token}"]
        path = "/is-leader" + (f"/{self.name}" if self.name else "") + ("?" + "&".join(query) if query else "")
        where = self._socket or find_socket()
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

    async def watch(self) -> AsyncIterator[Change]:
        """The state now, then each change of it. Looks every 50 ms: a term shorter than that may be missed."""
        import asyncio

        last = None
        while True:
            token = await asyncio.to_thread(lambda: self.token)
            change = Change(token is not None, token)
            if change != last:
                last = change
                yield change
            await asyncio.sleep(_LOOK_EVERY_S)

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


def _duration(value: str | float) -> str:
    """As the daemon reads it: `30s` stays, seconds become whole milliseconds, rounded up."""
    if isinstance(value, str):
        if not value.isascii() or not value.replace(".", "").isalnum():
            raise ValueError(f"{value!r} is no duration: 500ms, 10s, 2m")
        return value
    if not 0 <= value < 1e9:
        raise ValueError(f"{value!r} is no duration in seconds")
    return f"{-int(-value * 1000 // 1)}ms" if value else "0"
