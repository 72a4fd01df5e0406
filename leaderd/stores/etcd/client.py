"""Which endpoint to talk to, and with which token: rotation, retries of repeatable calls, one re-authentication per refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from leaderd.election.problems import Outcome
from leaderd.stores.address import Credentials
from leaderd.stores.base import NowS
from leaderd.stores.etcd.errors import is_endpoint_at_fault, is_token_refused, outcome_of
from leaderd.stores.etcd.wire import NO_CREDENTIALS, Connect, Wire, WireError

_T = TypeVar("_T")
Call = Callable[[Wire, str | None], Awaitable[_T]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

_NO_AUTH = ""  # the store said that it has no authentication switched on


class Client:
    """One connection at a time, to the endpoint that works.

    An endpoint that fails is left for the next one, and its connection is thrown away: whoever comes back to it makes a new one,
    with the TLS files as they are then.
    """

    def __init__(
        self, endpoints: list[str], start: int, credentials: Credentials, connect: Connect, spawn: Spawn, now_s: NowS
    ) -> None:
        self._endpoints = endpoints
        self._index = start % len(endpoints)
        self._credentials = credentials
        self._connect = connect
        self._spawn = spawn
        self._now_s = now_s
        self._wire: Wire | None = None
        self._token: str | None = None
        self._authenticating = asyncio.Lock()
        self.timeout_s = 1.0
        """The deadline of one call."""
        self.on_moved: Callable[[], None] | None = None
        """Called when the connection in use was given up."""

    def wire(self) -> Wire:
        """The connection in use, made now if there is none. Raises `WireError` when a TLS file cannot be read."""
        if self._wire is None:
            self._wire = self._connect(self._endpoints[self._index])
        return self._wire

    def blame(self, wire: Wire, error: WireError) -> None:
        """Take note of a failure: if the endpoint is at fault, use the next one from now on."""
        if wire is not self._wire or not is_endpoint_at_fault(error):
            return
        self._wire = None
        self._index = (self._index + 1) % len(self._endpoints)
        # Calls under way may still be answered: they get the time they would have had.
        self._spawn(wire.close(self.timeout_s))
        if self.on_moved is not None:
            self.on_moved()

    async def call(self, call: Call[_T], repeatable: bool) -> _T:
        """Carry out one call, and if it is repeatable, again on the next endpoints, within two call deadlines in all.

        Raises `WireError`; its `maybe_applied` says that an attempt before the last one went unanswered.
        """
        give_up_at_s = self._now_s() + 2 * self.timeout_s
        attempts = len(self._endpoints) + 1 if repeatable else 1
        maybe_applied = False
        while True:
            wire = self.wire()
            attempts -= 1
            try:
                return await self.call_on(wire, call)
            except WireError as e:
                self.blame(wire, e)
                e.maybe_applied = maybe_applied = maybe_applied or outcome_of(e) is Outcome.UNKNOWN
                if attempts <= 0 or not is_endpoint_at_fault(e) or self._now_s() + self.timeout_s / 2 >= give_up_at_s:
                    raise

    async def call_on(self, wire: Wire, call: Call[_T]) -> _T:
        """Carry out one call on this connection; if the token is refused, once more with a new one."""
        token = await self.token(wire)
        try:
            return await call(wire, token)
        except WireError as e:
            if self._credentials.username is None or not is_token_refused(e):
                raise
        return await call(wire, await self.new_token(wire, token))

    async def token(self, wire: Wire) -> str | None:
        """The token to send, fetched if there is none yet; None without credentials."""
        if self._credentials.username is None:
            return None
        if self._token is None:
            return await self.new_token(wire, None)
        return self._token or None

    async def new_token(self, wire: Wire, refused: str | None) -> str | None:
        """Exchange user and password for a token, unless another call has done so since `refused` was in use."""
        async with self._authenticating:
            if self._token is not None and (self._token or None) != refused:
                return self._token or None
            self._token = await self._authenticate(wire)
            return self._token or None

    async def aclose(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            await wire.close(0)

    async def _authenticate(self, wire: Wire) -> str:
        username = self._credentials.username
        assert username is not None
        try:
            password = self._credentials.password() or ""
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "not UTF-8 text"
            raise WireError(
                NO_CREDENTIALS, f"cannot read the password file {self._credentials.password_file}: {why}", wire.endpoint
            ) from None
        try:
            return await wire.authenticate(username, password, self.timeout_s)
        except WireError as e:
            # As etcd's own client does: credentials are no reason not to use a store that asks for none.
            if "authentication is not enabled" in e.message:
                return _NO_AUTH
            raise
