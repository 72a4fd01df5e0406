"""The methods that change something: who may call them, and how `Actions` is asked and answered.

A change goes on when its caller has gone, as it does over HTTP.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from leaderd.actions import ActionRefused, Actions, Refusal
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.grpc.calls import Call, Calls, Refused, duration_s
from leaderd.surfaces.grpc.elections import SERVICE, named
from leaderd.surfaces.grpc.messages import election, pause
from leaderd.surfaces.view import View, clean, whole_ms

REQUEST_HEADER = "x-leaderd-request"
USUAL_TRANSFER_S = 10.0
_CODES = {
    Refusal.UNKNOWN_ELECTION: grpc.StatusCode.NOT_FOUND,
    Refusal.NO_SUCH_CANDIDATE: grpc.StatusCode.NOT_FOUND,
    Refusal.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.NOT_LEADER: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.TOKEN_MISMATCH: grpc.StatusCode.ABORTED,
    Refusal.NOT_SUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Refusal.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
Request = TypeVar("Request", bound=Message)
Do = Callable[[Request, str], Coroutine[Any, Any, Message]]
"""The request, and who asks."""


class Changes:
    """The changes of one server. `operators`: users who may ask for them, besides root and our own."""

    def __init__(self, view: View, actions: Actions, operators: Collection[int]) -> None:
        self._view = view
        self._actions = actions
        self._operators = frozenset({0, os.geteuid(), *operators})
        self._acting: set[asyncio.Task[Message]] = set()

    def add_to(self, calls: Calls) -> None:
        """Serve them."""
        self._add(calls, "Resign", pb.ResignRequest, self._resign)
        self._add(calls, "Transfer", pb.TransferRequest, self._transfer)
        self._add(calls, "SetCandidacy", pb.SetCandidacyRequest, self._set_candidacy)
        self._add(calls, "SetPaused", pb.SetPausedRequest, self._set_paused)

    async def stop(self) -> None:
        """Wait for nothing any more."""
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)

    def _add(self, calls: Calls, name: str, kind: type[Request], do: Do[Request]) -> None:
        async def handle(request: Request, call: Call) -> Message:
            self._check(call)
            by = "loopback" if call.caller.uid is None else f"uid {call.caller.uid}"
            task = asyncio.get_running_loop().create_task(do(request, by))
            self._acting.add(task)
            task.add_done_callback(self._done)
            try:
                return await asyncio.shield(task)
            except ActionRefused as error:
                raise Refused(_CODES[error.kind], str(error)) from None

        calls.add_unary(f"{SERVICE}{name}", kind, handle)

    def _done(self, task: asyncio.Task[Message]) -> None:
        self._acting.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked has heard of it, or has gone

    def _check(self, call: Call) -> None:
        """Raise `Refused` unless whoever calls may change things, and says that they mean it."""
        caller = call.caller
        if call.from_web:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "a web page may not do this")
        if not caller.local:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "changes need the Unix socket or loopback")
        if caller.uid is not None and caller.uid not in self._operators:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"user {caller.uid} is not among operators.uids")
        if call.metadata.get(REQUEST_HEADER) != "1":
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"changes need the metadata {REQUEST_HEADER}: 1")

    # ---- one by one

    async def _resign(self, request: pb.ResignRequest, by: str) -> Message:
        name = named(self._view, request.election)
        cooldown_s = duration_s(request, "cooldown") or 0.0
        done = await self._actions.resign(name, cooldown_s=cooldown_s, if_token=_if_token(request))
        return pb.ResignResponse(election=self._now(name), token=done.token, released=done.released, took_ms=whole_ms(done.took_s))

    async def _transfer(self, request: pb.TransferRequest, by: str) -> Message:
        name = named(self._view, request.election)
        if not request.to:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "to: is missing")
        timeout_s = duration_s(request, "timeout")
        timeout_s = USUAL_TRANSFER_S if timeout_s is None else timeout_s
        done = await self._actions.transfer(name, request.to, timeout_s=timeout_s, if_token=_if_token(request))
        return pb.TransferResponse(
            confirmed=done.confirmed,
            election=self._now(name),
            token=done.token,
            to=clean(done.to),
            new_token=done.new_token,
            leaderless_ms=None if done.leaderless_s is None else whole_ms(done.leaderless_s),
        )

    async def _set_candidacy(self, request: pb.SetCandidacyRequest, by: str) -> Message:
        name = named(self._view, request.election)
        changed = await self._actions.set_candidacy(name, request.standing)
        return pb.SetCandidacyResponse(election=self._now(name), standing=request.standing, changed=changed)

    async def _set_paused(self, request: pb.SetPausedRequest, by: str) -> Message:
        name = named(self._view, request.election)
        expires_in_s = duration_s(request, "expires_in")
        if request.paused:
            entered = await self._actions.pause(name, reason=request.reason, by=by, expires_in_s=expires_in_s)
            return pb.SetPausedResponse(election=self._now(name), pause=pause(entered))
        was = await self._actions.resume(name)
        return pb.SetPausedResponse(election=self._now(name), was=pause(was))

    def _now(self, name: str) -> pb.Election:
        """How this instance stands: a look, no promise."""
        return election(self._view, self._view.ask(name, promise_s=0.0))


def _if_token(request: pb.ResignRequest | pb.TransferRequest) -> int | None:
    return request.if_token if request.HasField("if_token") else None
