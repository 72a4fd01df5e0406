"""The question to the daemon: do we lead, in which term, and until when is that promised?"""

from __future__ import annotations

from dataclasses import dataclass

from leaderd.cli import daemon_client
from leaderd.client.errors import DaemonUnreachable, NotLeader
from leaderd.client.line import Line
from leaderd.errors import Fatal

EXIT_OWN_FAILURE = 125


@dataclass(frozen=True, slots=True)
class Standing:
    """What the daemon said. A no has neither token nor instants; instants are seconds on our own CLOCK_BOOTTIME."""

    leader: bool
    election: str
    state: str
    reason: str
    token: int | None = None
    until_s: float | None = None
    """Until when the daemon promised that nobody else leads."""
    lease_s: float = 0.0
    """How long the lease itself has left; only informs."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask, about which election (None: the only one)."""

    socket: str | None
    election: str | None

    def ask(self, promise_s: float, timeout_s: float, *, min_valid_s: float = 0.0, token: int | None = None) -> Standing:
        """One answer. Raises `daemon_client.Unreachable` without one, `Fatal` when the question itself is wrong."""
        path = f"/is-leader/{self.election}" if self.election else "/is-leader"
        target = f"{path}?promise={_milliseconds(promise_s)}&min_valid={_milliseconds(min_valid_s)}"
        if token is not None:
            target += f"&token={token}"
        answer = daemon_client.get(daemon_client.socket_path(self.socket), target, timeout_s)
        if answer.status in {400, 404}:
            raise Fatal(answer.complaint(), EXIT_OWN_FAILURE)
        body = answer.json()
        name, state, reason = (str(body.get(key, "")) for key in ("election", "state", "reason"))
        if not name:
            raise daemon_client.Unreachable(answer.complaint())
        found, valid_ms, lease_ms = body.get("token"), body.get("valid_for_ms"), body.get("lease_remaining_ms")
        sure = isinstance(found, int) and isinstance(valid_ms, int | float) and isinstance(lease_ms, int | float)
        if answer.status != 200 or body.get("leader") is not True or not sure:
            return Standing(False, name, state, reason)
        assert isinstance(found, int)
        assert isinstance(valid_ms, int | float)
        assert isinstance(lease_ms, int | float)
        # Safety: see test_slow_answer_is_dated_from_the_question. From before the question: never later than what the daemon meant.
        return Standing(True, name, state, reason, found, answer.asked_at_s + valid_ms / 1000, lease_ms / 1000)

    def hold(self, election: str, promise_s: float, min_valid_s: float, token: int | None) -> tuple[Standing, Vow | None]:
        """An open promise in term `token`, that is extended as long as the term lasts; None with a no. Raises `Unreachable`."""
        path = daemon_client.socket_path(self.socket)
        query = f"promise={_milliseconds(promise_s)}&min_valid={_milliseconds(min_valid_s)}"
        query += "" if token is None else f"&token={token}"
        try:
            line = Line(path, f"/v1/elections/{election}/hold?{query}")
        except NotLeader as error:
            return Standing(False, election, "", error.reason), None
        except DaemonUnreachable as error:
            raise daemon_client.Unreachable(str(error)) from None
        vow = Vow(line, election)
        first = vow.read(daemon_client.TIMEOUT_S)
        if first is None or not first.leader:
            vow.drop()
            raise daemon_client.Unreachable(f"the daemon at {path} opened a stream and said nothing")
        return first, vow


class Vow:
    """The daemon's open promise, as a stream of what it is extended to. It is given back when all who have it have dropped it."""

    def __init__(self, line: Line, election: str) -> None:
        self._line = line
        self._election = election

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._line.fileno()

    def read(self, timeout_s: float = 0.001) -> Standing | None:
        """What is new; None for nothing. Raises `Unreachable` when the stream has broken off, which takes nothing back."""
        try:
            event = self._line.next(timeout_s)
            if event is None:
                return None
            kind, body = event
            until_s = self._line.until_ns(body) / 1e9
        except OSError as error:
            raise daemon_client.Unreachable(f"the daemon's stream broke off: {error}") from None
        state, reason = str(body.get("state", "")), str(body.get("reason", ""))
        token = body.get("token")
        if kind not in {"held", "tick"} or not isinstance(token, int):
            return Standing(False, self._election, state, reason)
        return Standing(True, self._election, state, reason, token, until_s)

    def drop(self) -> None:
        """Have it no more."""
        self._line.leave()


def _milliseconds(seconds: float) -> str:
    return f"{max(0, round(seconds * 1000))}ms"
