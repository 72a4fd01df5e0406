"""The gRPC surface of one daemon, put together: what `daemon.py` starts and stops."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, cast

import grpc
import grpc.aio

from leaderd.actions import Actions
from leaderd.clock import Clock
from leaderd.metrics import Metrics
from leaderd.surfaces import socketfile
from leaderd.surfaces.grpc.calls import Calls
from leaderd.surfaces.grpc.changes import Changes
from leaderd.surfaces.grpc.doorman import Doorman
from leaderd.surfaces.grpc.ears import Ears
from leaderd.surfaces.grpc.elections import Elections
from leaderd.surfaces.grpc.health import HealthService
from leaderd.surfaces.grpc.past import Past
from leaderd.surfaces.grpc.streams import Streams
from leaderd.surfaces.http.listeners import ListenError, UnixAddress, bind_tcp, serve
from leaderd.surfaces.socketfile import BoundSocket
from leaderd.surfaces.view import View

MAX_MESSAGE_BYTES = 16 * 1024
_CLOSE_GRACE_S = 1.0
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 8 * 1024),
    # Streams of one connection; all connections together have `calls.MAX_STREAMS`.
    ("grpc.max_concurrent_streams", 128),
    # Who connects and says nothing, or does not finish the TLS handshake.
    ("grpc.server_handshake_timeout_ms", 2_000),
    ("grpc.max_connection_idle_ms", 30_000),
    # A peer that is gone without a word; and one that pings oftener than it need, or for the sake of it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
)


class GrpcTls(NamedTuple):
    """Our certificate and its key as PEM files, read at each new connection; with `client_ca_file`, clients must show one too."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class GrpcSurface:
    """One listener: a Unix socket, or TCP. `directory`: where we may make a private directory for a moment."""

    def __init__(
        self,
        view: View,
        clock: Clock,
        metrics: Metrics,
        *,
        address: UnixAddress | tuple[str, int],
        tls: GrpcTls | None,
        actions: Actions,
        operators: Collection[int],
        directory: Path,
    ) -> None:
        self._address = address
        self._tls = tls
        self._directory = directory
        self._ears = Ears(view.board)
        self._calls = Calls(lambda: self.doorman, metrics, clock.now_s)
        Elections(view).add_to(self._calls)
        Past(view, actions).add_to(self._calls)
        self._changes = Changes(view, actions, operators)
        self._changes.add_to(self._calls)
        Streams(view, self._ears).add_to(self._calls)
        HealthService(view, self._ears).add_to(self._calls)
        self._server: grpc.aio.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._file: BoundSocket | None = None
        self._inner = -1
        self.doorman = Doorman(-1)
        self.address: tuple[str, int] | str = ""
        """Where we listen: (host, port), or the socket's path."""
        self.warning: str | None = None
        """What is odd about it, for the log."""

    @property
    def streams(self) -> int:
        """How many streams there are now."""
        return self._calls.streams

    async def start(self) -> None:
        """Listen and answer. Raises `ListenError`; then nothing is left listening."""
        try:
            credentials = _credentials(self._tls) if self._tls is not None else None
            sockets = []
            if isinstance(self._address, UnixAddress):
                try:
                    self._file = socketfile.bind(*self._address)
                except socketfile.SocketFileError as error:
                    raise ListenError(f"--grpc: {error}") from None
                self.address, self.warning = str(self._file.path), self._file.warning
                sockets.append(self._file.sock)
            else:
                sockets += await bind_tcp(*self._address, "grpc")
                self.address = sockets[0].getsockname()[:2]
            self._server = grpc.aio.server(options=_OPTIONS)
            self._server.add_generic_rpc_handlers((self._calls,))
            self._inner = _listen_without_a_name(self._server, credentials, self._directory)
            self.doorman = Doorman(self._inner, plain=self._tls is None)
            await self._server.start()
            for sock in sockets:
                self._listeners.append(await serve(sock, self.doorman.protocol))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Listen no more; tell every stream that it is over; close everything."""
        if self._file is not None:
            self._file.remove()
            self._file = None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._ears.close()
        if self._server is not None:
            await self._server.stop(_CLOSE_GRACE_S)
            self._server = None
        await self._changes.stop()
        await self.doorman.stop(_CLOSE_GRACE_S)
        if self._inner >= 0:
            os.close(self._inner)
            self._inner = -1


def _listen_without_a_name(server: grpc.aio.Server, credentials: grpc.ServerCredentials | None, directory: Path) -> int:
    """Have grpc's server listen on a socket that nobody can reach but by the descriptor that is returned."""
    try:
        private = Path(tempfile.mkdtemp(prefix=".grpc-", dir=directory))
    except OSError:
        private = Path(tempfile.mkdtemp(prefix="leaderd-"))
    fd = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # By the directory's descriptor, so that the path is short enough wherever the directory is.
        name = f"unix:/proc/self/fd/{fd}/s"
        try:
            if credentials is None:
                server.add_insecure_port(name)
            else:
                server.add_secure_port(name, credentials)
        except RuntimeError as error:
            raise ListenError(f"--grpc: grpc cannot listen: {error}") from None
        inner = os.open(private / "s", os.O_PATH | os.O_CLOEXEC)
        (private / "s").unlink()
        return inner
    finally:
        os.close(fd)
        private.rmdir()


def _credentials(tls: GrpcTls) -> grpc.ServerCredentials:
    def read() -> grpc.ServerCertificateConfiguration:
        pair = (tls.key_file.read_bytes(), tls.cert_file.read_bytes())
        roots = tls.client_ca_file.read_bytes() if tls.client_ca_file is not None else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    try:
        first = read()
    except OSError as error:
        raise ListenError(f"cannot read {error.filename}: {error.strerror}: see grpc.tls") from None

    def read_again() -> grpc.ServerCertificateConfiguration | None:
        # At each handshake, on a thread of grpc's. None: as before; while files are being replaced the old ones go on serving.
        try:
            return read()
        except OSError:
            return None

    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], read_again)
    return grpc.dynamic_ssl_server_credentials(first, fetch, tls.client_ca_file is not None)
