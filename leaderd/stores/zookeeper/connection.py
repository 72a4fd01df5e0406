# ruff: noqa: ANN401 - kazoo is untyped, and this is where it ends
"""kazoo's connection, with its traps closed. Everything here runs on kazoo's one thread per session, never on the event loop.

What is private to kazoo and used nevertheless, because it can be had in no other way: `_connect`, `_connect_attempt`, `_invoke`,
`_expand_client_hosts`, `_read`, `zk_loop` and `_socket` of the connection handler. `kazoo>=2.11,<2.12` is pinned for that, and
`test_kazoo_is_still_as_we_know_it` guards it.
"""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
import ssl
from typing import Any, NamedTuple

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionDropped, SessionExpiredError
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import STOP_CONNECTING, ConnectionHandler
from kazoo.protocol.serialization import Connect
from kazoo.retry import KazooRetry

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.address import Tls
from leaderd.stores.base import NowS

_MAX_ANSWER_BYTES = 16 << 20
_MAX_GREETING_BYTES = 1024
"""The answer to a connection request has 37 to 41 bytes; whoever announces more is no ZooKeeper."""
_NO_ZOOKEEPER = "invalid server response"
_RANK = [Reason.STORE_UNREACHABLE, Reason.WRONG_PROTOCOL, Reason.AUTH_FAILED]


class Granted(NamedTuple):
    """What a server granted, last time it let us in: the session, its timeout, and when the request for it was sent."""

    session: int
    ttl_s: float
    asked_at_s: float


class LastWord(logging.Handler):
    """Keeps the last warning of kazoo's connection loop: nothing else says why a connection broke. Nothing of it is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep its first line."""
        self.text = record.getMessage().partition("\n")[0][:200]


class Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's handler without its two worker threads: our callbacks only post to the event loop, so they may run anywhere.

    That saves a thread change per answer and per watch event. Sockets are made here: kazoo lets a connection attempt to a silent
    host take the whole session timeout, trusts the system's CAs beside the configured one, and loses the socket when a handshake
    fails.
    """

    running = False
    """What `AsyncResult` looks at: completions of a handler that does not run are called right away."""

    def __init__(self, connect_s: float, tls: Tls | None) -> None:
        super().__init__()
        self._connect_s = connect_s
        self._tls = tls
        self.reached: list[tuple[str, int]] = []
        """The address that took a connection last; may be read from any thread."""

    def start(self) -> None:
        """No workers."""

    def stop(self) -> None:
        """No workers."""

    def dispatch_callback(self, callback: Any) -> None:
        """Deliver a watch event."""
        callback.func(*callback.args)

    def create_connection(self, address: Any, hostname: str | None = None, **_: Any) -> Any:
        """A connected socket, through TLS where configured. Raises `OSError`."""
        plain = socket.create_connection(address, self._connect_s)
        self.reached = [(str(address[0]), int(address[1]))]
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return plain
            return _context(self._tls).wrap_socket(plain, server_hostname=hostname)
        except BaseException:
            plain.close()
            raise

    def select(self, rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None) -> Any:
        """Wait for sockets; kazoo's own makes a selector, an epoll instance, for each of the several calls per request.

        What TLS has decrypted already makes no socket readable. Raises `OSError` for a socket that was closed.
        """
        ready = [s for s in rlist if isinstance(s, ssl.SSLSocket) and s.pending() > 0]
        poll, sockets = select.poll(), {}
        for mask, wanted in ((select.POLLIN, rlist), (select.POLLOUT, wlist)):
            for s in wanted:
                if s.fileno() < 0:
                    raise OSError(errno.EBADF, "the socket is closed")
                poll.register(s, mask)
                sockets[s.fileno()] = s
        found = poll.poll(0 if ready else None if timeout is None else math.ceil(max(timeout, 0.0) * 1000))
        heard = [sockets[fd] for fd, _ in found]
        return [s for s in rlist if s in ready or s in heard], [s for s in wlist if s in heard], []


class TlsFilesError(OSError):
    """TLS material that cannot be used; the text names the files."""


def _context(tls: Tls) -> ssl.SSLContext:
    """Read anew for each connection, so that a rotation on disk needs no restart. Certificate and host name are verified."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file is not None)
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TlsFilesError(f"TLS files {files}: {reason}") from None
    return context


def _no_passphrase() -> str:
    # Without this OpenSSL would ask for the passphrase on the terminal, and wait.
    raise ValueError("the key is encrypted: store it without a passphrase, readable by this user only")


def trouble_of(error: Exception, where: str) -> Problem:
    """What a failed connection attempt means. kazoo wraps the cause; it is found in the context."""
    cause = error.__context__ if isinstance(error, ConnectionDropped) and error.__context__ is not None else error
    text = str(cause.args[-1] if isinstance(cause, OSError) and cause.args else cause).partition("\n")[0][:200]
    match cause:
        case TlsFilesError():
            return Problem(Outcome.FAILED, Reason.AUTH_FAILED, text)
        case AuthFailedError():
            return Problem(Outcome.FAILED, Reason.AUTH_FAILED, f"{where}: ZooKeeper refused the credentials")
        case ssl.SSLCertVerificationError():
            return Problem(Outcome.FAILED, Reason.AUTH_FAILED, f"{where}: certificate refused: {cause.verify_message or text}")
        case ssl.SSLError() if "alert" in text.lower():
            return Problem(Outcome.FAILED, Reason.AUTH_FAILED, f"{where} refused our TLS: {text}")
        case ssl.SSLError():
            return Problem(Outcome.FAILED, Reason.WRONG_PROTOCOL, f"{where} does not speak TLS as expected: {text}")
        case _ if _NO_ZOOKEEPER in str(error):
            return Problem(Outcome.FAILED, Reason.WRONG_PROTOCOL, f"{where}: what answers there is not ZooKeeper")
        case _:
            return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"{where}: {text}")


class Connection(ConnectionHandler):  # type: ignore[misc]
    """kazoo's connection loop, for one session only. `granted` and `trouble` may be read from any thread."""

    def __init__(self, client: KazooClient, retry: KazooRetry, logger: logging.Logger, now_s: NowS, connect_s: float) -> None:
        super().__init__(client, retry, logger=logger)
        self._now_s = now_s
        self._connect_s = connect_s
        self._greeted = False
        self._ended = False
        self._troubles: dict[str, Problem] = {}
        self.granted: Granted | None = None

    @property
    def trouble(self) -> Problem | None:
        """Why nobody lets us in: of what the hosts said last, what a human can do most about."""
        told = list(self._troubles.values())
        return max(told, key=lambda problem: _RANK.index(problem.reason)) if told else None

    def cut(self) -> None:
        """Break the connection under kazoo's hands: its loop sees the end of the stream, and goes to the next host."""
        cut = self._socket
        if cut is not None:
            try:
                socket.socket.shutdown(cut, socket.SHUT_RDWR)  # the plain one's: TLS would want to say goodbye first
            except OSError:
                pass  # closed already

    def zk_loop(self) -> None:
        """kazoo's loop. It ends by itself when the session does, or on an answer it cannot read; it has told so by then."""
        try:
            super().zk_loop()
        except Exception as error:  # noqa: BLE001 - the state is LOST now, which ends the session; no traceback on stderr
            self.logger.warning("%s", error)

    def _connect_attempt(self, host: str, hostip: str, port: int, retry: Any) -> Any:
        # Safety: see test_kazoo_never_opens_a_second_session
        if self._ended:
            return STOP_CONNECTING  # kazoo would open another session by itself, in which nothing of ours exists
        return super()._connect_attempt(host, hostip, port, retry)

    def _expand_client_hosts(self) -> Any:
        found = super()._expand_client_hosts()
        if not found:
            names = ", ".join(f"{host}:{port}" for host, port in self.client.hosts)
            self._troubles[names] = Problem(Outcome.FAILED, Reason.STORE_UNREACHABLE, f"{names}: the name does not resolve")
        return found

    def _connect(self, host: str, hostip: str, port: int) -> Any:
        where = f"{host}:{port}"
        self._greeted = False
        try:
            timeouts = super()._connect(host, hostip, port)
        except SessionExpiredError:
            self._ended = True
            if self.granted is None:
                self._troubles[where] = Problem(Outcome.FAILED, Reason.WRONG_PROTOCOL, f"{where} granted a session of no time")
            raise
        except (ConnectionDropped, AuthFailedError, self.handler.timeout_exception) as error:
            self._ended = self._ended or isinstance(error, AuthFailedError)
            self._troubles[where] = trouble_of(error, where)
            raise
        self._troubles.clear()
        return timeouts

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        """Requests of the handshake only. kazoo would wait for a frozen server for the session timeout divided by the hosts."""
        bound_s = min(timeout, self._connect_s)
        if not isinstance(request, Connect):
            return super()._invoke(bound_s, request, xid)
        asked_at_s = self._now_s()
        result = super()._invoke(bound_s, request, xid)
        self._greeted = True
        answer = result[0]
        # Safety: see test_another_session_than_ours_is_the_end_of_ours
        if self.granted is not None and answer.session_id != self.granted.session:
            raise SessionExpiredError  # kazoo would go on in it, and report a mere reconnection
        if answer.time_out > 0:
            self.granted = Granted(int(answer.session_id), answer.time_out / 1000.0, asked_at_s)
        return result

    def _read(self, length: int, timeout: float) -> Any:
        limit = _MAX_ANSWER_BYTES if self._greeted else _MAX_GREETING_BYTES
        if not 0 <= length <= limit:
            raise ConnectionDropped(f"{_NO_ZOOKEEPER}: an answer of {length} bytes")
        return super()._read(length, timeout)
