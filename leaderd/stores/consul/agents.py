"""Consul's agents over HTTP: calls with deadlines, one agent after the other, and what a failure means.

An answer is data for the caller (`Reply`); what is no answer is mapped here, once, to a `Problem` (`CallFailed`):

- never sent (refused, no such host, no connection in time): FAILED, and the next agent is asked within the same call;
- sent and unanswered (silence, a broken connection): UNKNOWN; the next *call* goes to the next agent, this one is not repeated;
- 403: refused by an access rule; the token file is read again, and the call repeated once if the token has changed;
- 5xx: UNKNOWN, since Consul answers 500 also to a write that was proposed and then lost its leader.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.address import Credentials, StoreAddress, Tls
from leaderd.stores.base import NowS, Traffic
from leaderd.stores.consul.http1 import MAX_BODY, BrokenError, Connection, NotHttpError, Response, TooLongError, connect
from leaderd.stores.consul.wire import clean

_NO_QUORUM = ("no cluster leader", "leadership lost", "not the leader", "raft is", "leader unknown")
_IDLE_S = 15.0
"""An idle connection older than this is not used again: a middlebox may have forgotten it, and a write would be lost."""
_TRANSPORT = frozenset({Reason.STORE_UNREACHABLE, Reason.WRONG_PROTOCOL})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer below 500 that is no refusal: its status, its body (bounded), `X-Consul-Index` (0 if none), and whose it is."""

    status: int
    body: bytes
    index: int
    endpoint: str = ""

    @property
    def text(self) -> str:
        """The beginning of the body, fit for a message."""
        return clean(self.body[:800].decode("utf-8", "replace").strip())


class CallFailed(Exception):
    """A call that brought no usable answer; `text` is what the agent said, if it said anything."""

    def __init__(self, problem: Problem, text: str = "") -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.text = text


def failed(reason: Reason, detail: str, outcome: Outcome = Outcome.FAILED, text: str = "") -> CallFailed:
    """Make a `CallFailed`."""
    return CallFailed(Problem(outcome, reason, detail), text)


class Agents:
    """The agents named in the store URL; all of them belong to one cluster, any of them serves any call."""

    def __init__(self, address: StoreAddress, credentials: Credentials, tls: Tls, traffic: Traffic, now_s: NowS) -> None:
        self._endpoints = address.endpoints()
        self._scheme = "https" if address.tls else "http"
        self._hosts = address.hosts
        self._idle: list[list[Connection]] = [[] for _ in self._endpoints]
        self._busy: set[Connection] = set()
        self._credentials = credentials
        self._tls = tls
        self._traffic = traffic
        self._now_s = now_s
        self._current = 0
        self.hung_up: tuple[tuple[str, int], ...] = ()
        """The agent that took a connection last and ended it without an answer, if that was what it did."""
        self._token: str | None = None
        self.token_version = 0
        """Counts the changes of the token, the first reading included."""
        self._ssl: ssl.SSLContext | None = None
        self._ssl_stamp: tuple[object, ...] = ()
        self._waits: set[asyncio.Timeout] = set()
        self.on_transport: Callable[[Problem | None], None] = lambda _: None
        """Told of every call: None when an agent answered, else why none did."""

    def close(self) -> None:
        """Close every connection."""
        for connection in (*self._busy, *(c for idle in self._idle for c in idle)):
            connection.close()

    # ---- credentials

    def refresh(self) -> None:
        """Take up TLS material and a token that changed on disk; a call needs neither to be unchanged. Raises `CallFailed`."""
        self._read_token()
        if self._scheme == "https":
            self._load_tls()

    def _read_token(self) -> None:
        """Read the token file. Raises `CallFailed` when it cannot be read."""
        try:
            token = self._credentials.token() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise failed(Reason.AUTH_FAILED, f"token file {self._credentials.token_file}: {reason}") from None
        if token is not None and not (token.isascii() and token.isprintable()):
            raise failed(Reason.AUTH_FAILED, f"token file {self._credentials.token_file}: not one line of plain characters")
        if token != self._token or self.token_version == 0:
            self._token, self.token_version = token, self.token_version + 1

    def _load_tls(self) -> None:
        files = (self._tls.ca_file, self._tls.cert_file, self._tls.key_file)
        try:
            stamp = tuple((s.st_mtime_ns, s.st_size, s.st_ino) if (s := os.stat(f) if f else None) else None for f in files)
            if self._ssl is not None and stamp == self._ssl_stamp:
                return
            context = ssl.create_default_context(cafile=self._tls.ca_file)
            if self._tls.cert_file is not None:
                context.load_cert_chain(self._tls.cert_file, self._tls.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:
            if self._ssl is not None:
                return  # a rotation caught half-way: go on with what works, and look again next time
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise failed(Reason.AUTH_FAILED, f"TLS files {', '.join(str(f) for f in files if f)}: {clean(reason)}") from None
        self._ssl, self._ssl_stamp = context, stamp
        for idle in self._idle:  # made with the old material
            while idle:
                idle.pop().close()

    # ---- calls

    async def call(self, method: str, path: str, bound_s: float, body: bytes | None = None, *, again: bool = False) -> Reply:
        """One call to `/v1/<path>`, answered within `bound_s`, or `CallFailed`. `again`: repeat it once on another connection
        when the first one broke; for calls that do no harm twice."""
        try:
            reply = await self._bounded(method, path, bound_s, body, again=again)
        except CallFailed as error:
            if error.problem.reason in _TRANSPORT:
                self.on_transport(error.problem)
            raise
        self.on_transport(None)
        return reply

    async def wait(self, path: str, query: str, index: int, wait_s: float, bound_s: float) -> Reply:
        """A blocking query: answered when the index of `path` is no longer `index`, or after `wait_s` and a sixteenth more, which
        the server adds so that not all come back at once. Ended by `interrupt`."""
        asked = f"{path}?{query}index={index}&wait={int(wait_s * 1000)}ms"
        scope = asyncio.timeout(wait_s * 17 / 16 + bound_s)
        self._waits.add(scope)
        at = self._current
        try:
            async with scope:
                return await self._authorised("GET", asked, None, bound_s)
        except TimeoutError:
            self._rotate(at)
            detail = f"{self._endpoints[at]} did not answer a blocking query in time"
            raise failed(Reason.STORE_UNREACHABLE, detail, Outcome.UNKNOWN) from None
        finally:
            self._waits.discard(scope)

    def interrupt(self) -> None:
        """End all blocking queries: a renewal failed, so the connections they wait on may be dead as well."""
        for scope in tuple(self._waits):
            if not scope.expired():
                scope.reschedule(0.0)

    async def _bounded(self, method: str, path: str, bound_s: float, body: bytes | None, *, again: bool) -> Reply:
        at = self._current
        try:
            async with asyncio.timeout(bound_s):
                try:
                    return await self._authorised(method, path, body, bound_s)
                except CallFailed as error:
                    if not again or error.problem.outcome is Outcome.FAILED or error.problem.reason is not Reason.STORE_UNREACHABLE:
                        raise
                    return await self._authorised(method, path, body, bound_s)
        except TimeoutError:
            self._rotate(at)
            detail = f"{self._endpoints[at]} did not answer within {bound_s:.2f} s"
            raise failed(Reason.STORE_UNREACHABLE, detail, Outcome.UNKNOWN) from None

    async def _authorised(self, method: str, path: str, body: bytes | None, bound_s: float) -> Reply:
        version = self.token_version
        try:
            return await self._anywhere(method, path, body, bound_s)
        except CallFailed as error:
            if error.problem.reason not in {Reason.AUTH_FAILED, Reason.PERMISSION_DENIED} or not self.token_changed(version):
                raise
        return await self._anywhere(method, path, body, bound_s)  # a refusal changes nothing in the store: asking again is safe

    def token_changed(self, version: int) -> bool:
        """Read the token file again after a refusal; whether the token is another than that of `version`, which was refused."""
        if version > 0:
            try:
                self._read_token()
            except CallFailed:
                return False
        return 0 < version < self.token_version

    async def _anywhere(self, method: str, path: str, body: bytes | None, bound_s: float) -> Reply:
        if self.token_version == 0 or (self._scheme == "https" and self._ssl is None):
            self.refresh()
        connect_s = 0.9 * bound_s / len(self._hosts)
        last: CallFailed | None = None
        for _ in self._hosts:
            at = self._current
            try:
                return await self._send(at, method, path, body, connect_s)
            except CallFailed as error:
                if error.problem.reason not in {*_TRANSPORT, Reason.STALE_STORE_NODE}:
                    raise
                self._rotate(at)
                if error.problem.outcome is not Outcome.FAILED:
                    raise
                last = error
        assert last is not None
        raise last

    def _rotate(self, at: int) -> None:
        if self._current == at:
            self._current = (at + 1) % len(self._hosts)

    async def _send(self, at: int, method: str, path: str, body: bytes | None, connect_s: float) -> Reply:
        endpoint = self._endpoints[at]
        self._traffic.requests += 1
        connection = self._idle_one(at) or await self._connect(at, connect_s)
        self._busy.add(connection)
        try:
            response = await connection.ask(self._request(endpoint, method, path, body))
            self.hung_up = ()
        except BrokenError as error:
            self.hung_up = (self._hosts[at],)
            detail = f"{endpoint} broke the connection: {clean(str(error))}"
            raise failed(Reason.STORE_UNREACHABLE, detail, Outcome.UNKNOWN) from None
        except NotHttpError as error:
            detail = f"{endpoint} does not answer as a Consul agent: {clean(str(error))}"
            raise failed(Reason.WRONG_PROTOCOL, detail, Outcome.UNKNOWN) from None
        except TooLongError:
            raise failed(Reason.STORE_ERROR, f"{endpoint} sent more than {MAX_BODY} bytes", Outcome.UNKNOWN) from None
        finally:
            self._busy.discard(connection)
            if connection.usable:
                connection.idle_since_s = self._now_s()
                self._idle[at].append(connection)
        self._traffic.last_answer_s = self._now_s()
        return self._judge(endpoint, method, path, response)

    def _idle_one(self, at: int) -> Connection | None:
        """The connection used last, which is the likeliest to work; those that have been idle for long are closed."""
        idle, oldest_s = self._idle[at], self._now_s() - _IDLE_S
        while idle and (not idle[0].usable or idle[0].idle_since_s < oldest_s):
            idle.pop(0).close()
        while idle:
            found = idle.pop()
            if found.usable:
                return found
        return None

    async def _connect(self, at: int, within_s: float) -> Connection:
        endpoint = self._endpoints[at]
        try:
            return await connect(*self._hosts[at], self._ssl, within_s)
        except ssl.SSLCertVerificationError as error:
            raise failed(Reason.AUTH_FAILED, f"{endpoint}: certificate refused: {clean(str(error))}") from None
        except ssl.SSLError as error:
            raise failed(Reason.WRONG_PROTOCOL, f"{endpoint} does not speak TLS as expected: {clean(str(error))}") from None
        except OSError as error:  # a TimeoutError too
            reason = clean(error.strerror or str(error) or "no connection in time")
            raise failed(Reason.STORE_UNREACHABLE, f"{endpoint}: {reason}") from None

    def _request(self, endpoint: str, method: str, path: str, body: bytes | None) -> bytes:
        # Environment variables (proxies, CONSUL_HTTP_TOKEN) never override the configuration.
        token = f"X-Consul-Token: {self._token}\r\n" if self._token else ""
        length = "" if method == "GET" else f"Content-Length: {len(body or b'')}\r\n"
        head = f"{method} /v1/{path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: leaderd\r\n{token}{length}\r\n"
        return head.encode("ascii") + (body or b"")

    def _judge(self, endpoint: str, method: str, path: str, response: Response) -> Reply:
        header = response.headers.get(b"x-consul-index", b"")
        index = int(header) if header.isdigit() and len(header) <= 20 else 0
        reply = Reply(response.status, response.body, index, endpoint)
        if 200 <= reply.status < 300 or reply.status in {404, 409}:
            return reply
        text = reply.text.replace(self._token, "...") if self._token else reply.text
        where = f"{endpoint}: {method} {path.partition('?')[0]}: {reply.status} {text or clean(response.phrase)}".strip()
        if reply.status in {401, 403}:
            known = "permission denied" in text.lower()
            raise failed(Reason.PERMISSION_DENIED if known else Reason.AUTH_FAILED, where, text=text)
        if reply.status == 429:
            raise failed(Reason.STORE_ERROR, where, text=text)
        if reply.status < 500:
            raise failed(Reason.WRONG_PROTOCOL, where + (" (redirects are not followed)" if reply.status < 400 else ""), text=text)
        lowered = text.lower()
        if any(words in lowered for words in _NO_QUORUM):
            # Only with no leader at all is it certain that nothing was proposed.
            outcome = Outcome.FAILED if "no cluster leader" in lowered else Outcome.UNKNOWN
            raise failed(Reason.STALE_STORE_NODE, where, outcome, text)
        raise failed(Reason.STORE_ERROR, where, Outcome.UNKNOWN, text)


def _no_passphrase() -> str:
    # Without this OpenSSL would ask for the passphrase on the terminal, and wait.
    raise ValueError("the key is encrypted: store it without a passphrase, readable by this user only")
