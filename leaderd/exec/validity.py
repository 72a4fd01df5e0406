"""The question to the daemon: do we lead, in which term, and until when is that promised?"""

from __future__ import annotations

from dataclasses import dataclass

from leaderd.cli import daemon_client
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


def _milliseconds(seconds: float) -> str:
    return f"{max(0, round(seconds * 1000))}ms"
