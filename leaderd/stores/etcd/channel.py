"""The transport over grpc.aio: one channel to one endpoint, methods called by their path, every failure a `WireError`.

One channel per endpoint, and no load balancing in the library: measured with a silently dropped endpoint, `pick_first` without
keep-alive never fails over, and `round_robin` without it fails every n-th call for ever. Rotation is `client.py`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from leaderd.stores.address import Tls
from leaderd.stores.etcd import messages
from leaderd.stores.etcd._proto import leaderd_etcd_subset_pb2 as pb
from leaderd.stores.etcd.wire import (
    BAD_REPLY,
    NO_CREDENTIALS,
    LeaseReply,
    Txn,
    TxnReply,
    WatchCancel,
    WatchCreate,
    WatchMessage,
    WireError,
)

_Reply = TypeVar("_Reply", bound=Message)

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # etcd closes a connection that pings more often than every 5 s (`--grpc-keepalive-min-time`), or without a stream.
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A new channel must be a new connection (and a new TLS handshake), not one shared through the process-wide pool.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also how long a connection attempt may take; a call's own deadline is what makes us try elsewhere.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # A store is reached directly; a proxy taken from the environment would be a surprise.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


def open_channel(endpoint: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel to `host:port`, with TLS unless `tls` is None; its files are read now. Raises `WireError`."""
    target = f"dns:///{endpoint}"
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    try:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(tls.ca_file or _system_ca_file()),
            private_key=_read(tls.key_file),
            certificate_chain=_read(tls.cert_file),
        )
    except OSError as e:
        raise WireError(NO_CREDENTIALS, f"cannot read {e.filename}: {e.strerror}", endpoint) from None
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


class GrpcWire:
    """`wire.Wire` over one grpc.aio channel. Every call made and every answer is told to the two callbacks."""

    def __init__(self, endpoint: str, tls: Tls | None, on_request: Callable[[], None], on_answer: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self._on_request = on_request
        self._on_answer = on_answer
        self._channel = open_channel(endpoint, tls)
        self._txn = self._unary("/etcdserverpb.KV/Txn", pb.TxnResponse)
        self._grant = self._unary("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantResponse)
        self._look_up = self._unary("/etcdserverpb.Lease/LeaseTimeToLive", pb.LeaseTimeToLiveResponse)
        self._revoke = self._unary("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeResponse)
        self._authenticate = self._unary("/etcdserverpb.Auth/Authenticate", pb.AuthenticateResponse)
        self._keep_alive = self._stream("/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveResponse)
        self._watch = self._stream("/etcdserverpb.Watch/Watch", pb.WatchResponse)
        self._keep_alive_call: Any = None

    async def txn(self, txn: Txn, token: str | None, timeout_s: float) -> TxnReply:
        """Carry out a transaction."""
        reply: pb.TxnResponse = await self._call(self._txn, messages.txn_request(txn), token, timeout_s)
        try:
            return messages.txn_reply(reply, txn)
        except ValueError as e:
            raise WireError(BAD_REPLY, str(e), self.endpoint) from None

    async def lease_grant(self, ttl_s: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Ask for a new lease."""
        reply: pb.LeaseGrantResponse = await self._call(self._grant, pb.LeaseGrantRequest(TTL=ttl_s), token, timeout_s)
        if reply.error:
            raise WireError("FAILED_PRECONDITION", reply.error, self.endpoint)
        return LeaseReply(messages.header(reply.header), reply.ID, reply.TTL)

    async def lease_time_to_live(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Look a lease up without renewing it."""
        request = pb.LeaseTimeToLiveRequest(ID=lease)
        reply: pb.LeaseTimeToLiveResponse = await self._call(self._look_up, request, token, timeout_s)
        return LeaseReply(messages.header(reply.header), reply.ID, reply.TTL)

    async def lease_revoke(self, lease: int, token: str | None, timeout_s: float) -> None:
        """End a lease; its keys are deleted with it."""
        await self._call(self._revoke, pb.LeaseRevokeRequest(ID=lease), token, timeout_s)

    async def authenticate(self, username: str, password: str, timeout_s: float) -> str:
        """Exchange name and password for a token."""
        request = pb.AuthenticateRequest(name=username, password=password)
        reply: pb.AuthenticateResponse = await self._call(self._authenticate, request, None, timeout_s)
        return reply.token

    async def lease_keep_alive(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Renew a lease, on a stream kept for the next time. A call that fails in any way takes its stream with it.

        So an answer can never be taken for that of a later request.
        """
        call = self._keep_alive_call or self._keep_alive(metadata=_metadata(token))
        self._keep_alive_call = None
        self._on_request()
        done = False
        try:
            async with asyncio.timeout(timeout_s):
                await call.write(pb.LeaseKeepAliveRequest(ID=lease))
                reply = await call.read()
            if reply is grpc.aio.EOF:
                raise await _ended(call, self.endpoint)
            done = True
        except TimeoutError:
            raise WireError("DEADLINE_EXCEEDED", "no answer to a keep-alive", self.endpoint) from None
        except asyncio.InvalidStateError:
            raise WireError("UNAVAILABLE", "the keep-alive stream had ended", self.endpoint) from None
        except grpc.aio.AioRpcError as e:
            raise _error(e, self.endpoint) from None
        except asyncio.CancelledError:
            raise _cancelled(self.endpoint) from None
        finally:
            if not done:
                call.cancel()
        self._keep_alive_call = call
        self._on_answer()
        if lease != reply.ID:
            raise WireError(BAD_REPLY, "a keep-alive was answered for another lease", self.endpoint)
        return LeaseReply(messages.header(reply.header), reply.ID, reply.TTL)

    def watch(self, token: str | None) -> GrpcWatchStream:
        """Open a watch stream."""
        return GrpcWatchStream(self._watch, token, self.endpoint, self._on_request, self._on_answer)

    async def close(self, grace_s: float) -> None:
        """Close the connection; calls under way get `grace_s` to end."""
        if self._keep_alive_call is not None:
            self._keep_alive_call.cancel()
        await self._channel.close(grace_s)

    async def _call(self, method: Callable[..., Any], request: Message, token: str | None, timeout_s: float) -> Any:  # noqa: ANN401
        self._on_request()
        try:
            reply = await method(request, timeout=timeout_s, metadata=_metadata(token))
        except grpc.aio.AioRpcError as e:
            raise _error(e, self.endpoint) from None
        except grpc.aio.UsageError:
            raise WireError("UNAVAILABLE", "the connection was given up", self.endpoint) from None
        except asyncio.CancelledError:
            raise _cancelled(self.endpoint) from None
        self._on_answer()
        return reply

    def _unary(self, path: str, reply: type[_Reply]) -> Callable[..., Any]:
        return self._channel.unary_unary(path, request_serializer=_serialize, response_deserializer=reply.FromString)

    def _stream(self, path: str, reply: type[_Reply]) -> Callable[..., Any]:
        return self._channel.stream_stream(path, request_serializer=_serialize, response_deserializer=reply.FromString)


class GrpcWatchStream:
    """`wire.WatchStream` over one gRPC stream."""

    def __init__(
        self,
        method: Callable[..., Any],
        token: str | None,
        endpoint: str,
        on_request: Callable[[], None],
        on_answer: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._on_request = on_request
        self._on_answer = on_answer
        self._outbox: asyncio.Queue[pb.WatchRequest] = asyncio.Queue()
        self._call: Any = method(metadata=_metadata(token))
        # Not a request iterator: the library leaves its consumer pending when the stream breaks.
        self._sender = asyncio.get_running_loop().create_task(self._send())

    def send(self, request: WatchCreate | WatchCancel) -> None:
        """Queue a request."""
        self._outbox.put_nowait(messages.watch_request(request))

    async def receive(self) -> WatchMessage:
        """The next message, or `WireError`."""
        call = self._call
        if call is None:
            raise WireError("CANCELLED", "the stream was given up", self._endpoint)
        try:
            reply = await call.read()
            if reply is grpc.aio.EOF:
                raise await _ended(call, self._endpoint)
        except grpc.aio.AioRpcError as e:
            raise _error(e, self._endpoint) from None
        except asyncio.InvalidStateError:
            raise WireError("UNAVAILABLE", "the watch stream had ended", self._endpoint) from None
        except asyncio.CancelledError:
            raise _cancelled(self._endpoint) from None
        finally:
            if self._sender.done() and not self._sender.cancelled():
                self._sender.result()  # an exception nobody expected
        self._on_answer()
        return messages.watch_message(reply)

    def cancel(self) -> None:
        """End the stream, and let go of the call: it would keep the connection's descriptor until the next garbage collection."""
        call, self._call = self._call, None
        self._sender.cancel()
        if call is not None:
            call.cancel()

    async def _send(self) -> None:
        try:
            while True:
                request = await self._outbox.get()
                if self._call is None:
                    return
                self._on_request()
                await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # `receive` meets the broken stream, and says so
        except Exception:
            self.cancel()
            raise


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _metadata(token: str | None) -> Sequence[tuple[str, str]]:
    # `hasleader`: a member that has lost its raft leader answers "no leader" at once, and ends streams, instead of falling silent.
    return (("hasleader", "true"), ("token", token)) if token else (("hasleader", "true"),)


def _error(error: grpc.aio.AioRpcError, endpoint: str) -> WireError:
    details = error.details() or ""
    if details.startswith("Internal error from Core"):
        # The library's words for a write to a stream that broke in the same instant.
        return WireError("UNAVAILABLE", "the stream broke", endpoint)
    return WireError(error.code().name, details, endpoint)


async def _ended(call: Any, endpoint: str) -> WireError:  # noqa: ANN401 - grpc.aio's call type is generic and private
    code = await call.code()
    details = await call.details()
    return WireError("UNAVAILABLE" if code is grpc.StatusCode.OK else code.name, details or "the stream was ended", endpoint)


def _cancelled(endpoint: str) -> BaseException:
    """Tell a call that was cancelled with its channel (a failure of the wire) from a cancelled task (not ours to swallow)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return WireError("CANCELLED", "the connection was given up", endpoint)


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _system_ca_file() -> Path | None:
    """The system's CA bundle; without one, the library's own is used."""
    cafile = ssl.get_default_verify_paths().cafile
    return Path(cafile) if cafile else None
