"""`WatchElection` and `HoldTerm`: streams in which every message is of the instant at which it was written.

Rule 1: nothing waits in a queue of ours. A stream that cannot be written to is told, when it can, how things are then.
Rule 2: the board is looked at again after every wait, and no wait reaches past a deadline: a lost wake-up delays nothing (I7).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import grpc

from leaderd.board import Answer, Hold
from leaderd.election.events import Contender
from leaderd.election.state import State
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.grpc.calls import Call, Calls, Refused, duration_s
from leaderd.surfaces.grpc.doorman import Grip
from leaderd.surfaces.grpc.ears import Ears
from leaderd.surfaces.grpc.elections import SERVICE, named, promised_s
from leaderd.surfaces.grpc.messages import election
from leaderd.surfaces.view import View, whole_ms

_LEADING = frozenset({State.LEADER, State.SUSPENDED})
_LONGEST_WAIT_S = 1.0
"""While a promise runs out: the loop's timers stand still in suspend, the deadline does not."""
_STOPPING = "the daemon stops"


class _Gist(NamedTuple):
    """What of an election is news when it changes."""

    news: int
    state: State
    leader: str | None
    connected: bool
    queue: tuple[Contender, ...]


class Streams:
    """The streams of one server."""

    def __init__(self, view: View, ears: Ears) -> None:
        self._view = view
        self._ears = ears

    def add_to(self, calls: Calls) -> None:
        """Serve them."""
        calls.add_stream(f"{SERVICE}WatchElection", pb.WatchElectionRequest, self._watch)
        calls.add_stream(f"{SERVICE}HoldTerm", pb.HoldTermRequest, self._hold)

    # ---- watching

    async def _watch(self, request: pb.WatchElectionRequest, call: Call) -> None:
        name, promise_s = named(self._view, request.election), promised_s(self._view, request, call)
        before: _Gist | None = None
        told_s = -math.inf
        while not self._ears.closed:
            seen = self._ears.number
            look = self._view.ask(name, promise_s=0.0)
            now, tick_at_s = self._gist(look), told_s + self._view.tick_s
            kind = _kind(before, now)
            if kind is None and look.now_s >= tick_at_s:
                kind = pb.CHANGE_KIND_TICK
            if kind is None:
                until_s = tick_at_s if look.lease_until_s is None else min(tick_at_s, look.lease_until_s)
                await self._ears.wait(seen, until_s - look.now_s)
                continue
            before, told_s = now, look.now_s
            # No await from here until grpc has the message: the promise counts from now.
            answer = self._view.ask(name, promise_s)
            await call.write(pb.WatchElectionResponse(kind=kind, election=election(self._view, answer)))
        raise Refused(grpc.StatusCode.UNAVAILABLE, _STOPPING)

    def _gist(self, answer: Answer) -> _Gist:
        view = answer.view
        return _Gist(view.index, answer.state, view.leader, self._view.board.snapshot.connected, view.contenders)

    # ---- holding

    async def _hold(self, request: pb.HoldTermRequest, call: Call) -> None:
        name, promise_s = named(self._view, request.election), promised_s(self._view, request, call)
        if call.from_web:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "a web page may not do this")
        if promise_s <= 0.0:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "promise: a term cannot be held without a promise")
        min_valid_s = duration_s(request, "min_valid") or 0.0
        token = request.token if request.HasField("token") else None
        grip = call.grip()
        if grip is None:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "terms are held over too many connections already: use one for several"
            )
        try:
            answer, hold = self._view.hold(name, promise_s, min_valid_s, token)
            if hold is None:
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, self._why_not(answer))
            try:
                await self._hold_on(call, _Held(hold, request.fixed), answer)
            finally:
                self._end(hold, grip)
        finally:
            grip.close()

    def _end(self, hold: Hold, grip: Grip) -> None:
        if self._ears.closed:
            return  # at the daemon's end nobody asks
        # Safety: see test_only_the_client_gives_a_promise_back
        if grip.given_back:
            hold.release()
        else:
            hold.lose()

    async def _hold_on(self, call: Call, held: _Held, answer: Answer) -> None:
        await self._tell(call, held, pb.HOLD_PHASE_HELD, answer)
        last = await self._while_held(call, held)
        while last.now_s < held.hold.until_s:
            seen = self._ears.number
            await self._ears.wait(seen, min(held.hold.until_s - last.now_s, _LONGEST_WAIT_S))
            last = self._look(held)
            if self._ears.closed:
                break
        await self._tell(call, held, pb.HOLD_PHASE_ENDED, last)

    async def _while_held(self, call: Call, held: _Held) -> Answer:
        """Extend the promise as long as the term lasts; the answer that is no longer a yes."""
        while True:
            seen = self._ears.number
            look = self._look(held)
            if not look.leader or look.lease_until_s is None or self._ears.closed:
                if look.now_s < held.hold.until_s:
                    await self._tell(call, held, pb.HOLD_PHASE_ENDING, look)
                return look
            if held.worth_extending(look.now_s, look.lease_until_s):
                answer = self._view.extend(held.hold)
                if answer.leader:
                    await self._tell(call, held, pb.HOLD_PHASE_EXTENDED, answer)
            else:
                await self._ears.wait(seen, held.look_again_s(look.now_s, look.lease_until_s) - look.now_s)

    def _look(self, held: _Held) -> Answer:
        return self._view.ask(held.hold.name, promise_s=0.0, token=held.hold.token)

    async def _tell(self, call: Call, held: _Held, phase: pb.HoldPhase, answer: Answer) -> None:
        # No await from the answer until grpc has the message.
        await call.write(
            pb.HoldTermResponse(
                phase=phase,
                token=held.hold.token,
                valid_until_boottime_ns=math.floor(held.hold.until_s * 1e9),
                valid_for_ms=max(0, whole_ms(held.hold.until_s - answer.now_s)),
                election=election(self._view, answer),
            )
        )

    def _why_not(self, answer: Answer) -> str:
        leader = answer.view.leader
        return f"not leading {answer.view.name}: {answer.reason.value}" + (f"; the leader is {leader}" if leader else "")


class _Held:
    """A term that is held for somebody. `fixed`: the promise is given once."""

    __slots__ = ("fixed", "hold")

    def __init__(self, hold: Hold, fixed: bool) -> None:
        self.hold = hold
        self.fixed = fixed

    def worth_extending(self, now_s: float, lease_until_s: float) -> bool:
        """Whether a new promise reaches further by enough, or by anything while little is left of the old one."""
        if self.fixed:
            return False
        step_s = self._step_s(now_s, lease_until_s)
        gain_s = min(now_s + self.hold.promise_s, lease_until_s) - self.hold.until_s
        return gain_s >= step_s or (gain_s > 0.001 and self.hold.until_s - now_s <= step_s)

    def look_again_s(self, now_s: float, lease_until_s: float) -> float:
        """When to look again, should nothing be published before: when an extension is due, else when the lease ends."""
        if self.fixed or lease_until_s - self.hold.until_s <= 0.001:
            return lease_until_s
        step_s = self._step_s(now_s, lease_until_s)
        due_s = self.hold.until_s - step_s
        return (
            min(due_s, self.hold.until_s + step_s - self.hold.promise_s) if self.hold.until_s + step_s <= lease_until_s else due_s
        )

    def _step_s(self, now_s: float, lease_until_s: float) -> float:
        return max(0.0, min(self.hold.promise_s, lease_until_s - now_s)) / 3


def _kind(before: _Gist | None, now: _Gist) -> pb.ChangeKind | None:
    """What to call the change, or None if there is none; as the event stream over HTTP does."""
    if before is None:
        return pb.CHANGE_KIND_STATE
    if before.news == now.news and before.state is now.state:
        if before.connected != now.connected:
            return pb.CHANGE_KIND_STORE
        # A change of the queue has no name of its own: `GetElection` tells who stands.
        return None if before.queue == now.queue else pb.CHANGE_KIND_STATE
    if (now.state in _LEADING) != (before.state in _LEADING):
        return pb.CHANGE_KIND_ACQUIRED if now.state in _LEADING else pb.CHANGE_KIND_LOST
    if (now.state is State.PAUSED) != (before.state is State.PAUSED):
        return pb.CHANGE_KIND_PAUSED
    return pb.CHANGE_KIND_LEADER_CHANGED if now.leader != before.leader else pb.CHANGE_KIND_STATE
