"""`/livez`, `/readyz`, `/startupz`, in the way of the Kubernetes API server: `?verbose`, `?exclude=`; machines read the code only.

None of them depends on leadership or on the store. A readiness tied to leadership deadlocks rollouts, and one tied to the store
takes every pod out of service with one hiccup of the store. `livez` fails only when a restart is the cure: the loop is wedged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaderd.board import Board
from leaderd.clock import Clock
from leaderd.surfaces.http.query import split_query
from leaderd.surfaces.http.reply import TEXT, Response

_SECOND_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """What the daemon knows of itself.

    `late_s`: by how much the runner's timer is overdue. `limit_s`: from when on that means wedged (2 x ttl).
    `crashed`: whether the runner has stopped for good. `started`: whether start-up is complete.
    """

    late_s: Callable[[], float]
    limit_s: float
    crashed: Callable[[], bool] = lambda: False
    started: Callable[[], bool] = lambda: True


Check = Callable[[], bool]


class Probes:
    """The three probes of one daemon."""

    def __init__(self, health: Health, board: Board, clock: Clock) -> None:
        self._health = health
        self._board = board
        self._clock = clock
        self._late_since_s: dict[str, float] = {}
        self._checks: dict[str, dict[str, Check]] = {
            "livez": {
                "ping": _ping,
                "runner": self._runner_lives,
                "timer": self._timer_fires,
                "deadlines": self._deadlines_are_kept,
            },
            "readyz": {"ping": _ping, "runner": self._runner_lives, "started": health.started},
            "startupz": {"ping": _ping, "started": health.started},
        }

    def answer(self, probe: str, query: str) -> Response:
        """Run the checks of `probe`; 200 when all pass, else 503 with the list. Raises `Refusal` for a bad query."""
        asked = split_query(query, ("verbose", "exclude"), frozenset({"exclude"}))
        excluded = {value for name, value in asked if name == "exclude"}
        checks = self._checks[probe]
        results = {name: check() for name, check in checks.items() if name not in excluded}
        passed = all(results.values())
        if passed and not any(name == "verbose" for name, _ in asked):
            return Response(200, b"ok", TEXT)
        lines = [
            f"[+]{name} excluded: ok" if name in excluded else f"[+]{name} ok" if results[name] else f"[-]{name} failed"
            for name in checks
        ]
        if unknown := sorted(excluded - checks.keys()):
            lines.append(f"warn: some checks cannot be excluded: no match for {', '.join(name[:40] for name in unknown[:8])}")
        lines += self._for_information() if probe == "readyz" else []
        lines.append(f"{probe} check {'passed' if passed else 'failed'}")
        return Response(200 if passed else 503, "\n".join([*lines, ""]).encode(), TEXT)

    def _for_information(self) -> list[str]:
        snapshot = self._board.snapshot
        store = "ok" if snapshot.connected else "degraded"
        return [f"[+]store {store} (for information: never fails this probe)"] + (["[+]draining"] if snapshot.draining else [])

    def _runner_lives(self) -> bool:
        return not self._health.crashed()

    def _timer_fires(self) -> bool:
        return self._twice("timer", self._health.late_s() > self._health.limit_s)

    def _deadlines_are_kept(self) -> bool:
        """A term still on the board long after its deadline: nobody was told that it is over, though every answer says so."""
        now_s = self._clock.now_s()
        terms = [view.term for view in self._board.snapshot.elections.values() if view.term is not None]
        return self._twice("deadlines", any(now_s - term.valid_until_s > self._health.limit_s for term in terms))

    def _twice(self, name: str, bad: bool) -> bool:
        """A process that was frozen may answer a probe before its first timer: only what lasts is wedged."""
        if not bad:
            self._late_since_s.pop(name, None)
            return True
        now_s = self._clock.now_s()
        return now_s - self._late_since_s.setdefault(name, now_s) < _SECOND_LOOK_S


def _ping() -> bool:
    return True
