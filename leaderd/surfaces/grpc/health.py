"""`grpc.health.v1`: `leader/ELECTION` serves only while this instance leads, so that any language can watch without stubs.

No status is kept (grpc's own servicer keeps one that somebody must remember to flip): each is the answer of its instant, and a
watcher is told at the deadline even if nobody publishes anything.
"""

from __future__ import annotations

import grpc

from leaderd.surfaces.grpc._proto import leaderd_health_subset_pb2 as pb
from leaderd.surfaces.grpc.calls import Call, Calls, Refused
from leaderd.surfaces.grpc.ears import Ears
from leaderd.surfaces.view import View

SERVICE = "/grpc.health.v1.Health/"
_LEADER = "leader/"
_AT_REST_S = 60.0
Status = pb.HealthCheckResponse.ServingStatus


class HealthService:
    """`Check` and `Watch`. The service without a name is the daemon itself: it serves until it leaves, leading or not."""

    def __init__(self, view: View, ears: Ears) -> None:
        self._view = view
        self._ears = ears

    def add_to(self, calls: Calls) -> None:
        """Serve them."""
        calls.add_unary(f"{SERVICE}Check", pb.HealthCheckRequest, self._check)
        calls.add_stream(f"{SERVICE}Watch", pb.HealthCheckRequest, self._watch)

    async def _check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        status, _ = self._status(request.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"the services here are '' and {_LEADER}ELECTION, for elections it stands in")
        return pb.HealthCheckResponse(status=status)

    async def _watch(self, request: pb.HealthCheckRequest, call: Call) -> None:
        told: Status | None = None
        while True:
            seen = self._ears.number
            status, left_s = self._status(request.service)
            if status != told:
                told = status
                await call.write(pb.HealthCheckResponse(status=status))
                continue
            if self._ears.closed:
                return
            await self._ears.wait(seen, left_s)

    def _status(self, service: str) -> tuple[Status, float]:
        """The status at this instant, and for how many seconds it stands at most if nothing is published."""
        snapshot = self._view.board.snapshot
        gone = snapshot.draining or self._ears.closed
        if not service:
            return pb.HealthCheckResponse.NOT_SERVING if gone else pb.HealthCheckResponse.SERVING, _AT_REST_S
        name = service.removeprefix(_LEADER)
        if name == service or name not in snapshot.elections:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN, _AT_REST_S
        answer = self._view.ask(name, promise_s=0.0)
        if not answer.leader or answer.lease_until_s is None:
            return pb.HealthCheckResponse.NOT_SERVING, _AT_REST_S
        return pb.HealthCheckResponse.SERVING, answer.lease_until_s - answer.now_s
