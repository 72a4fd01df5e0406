"""Which hook is due: a herald of the runner. It hears of a loss when every answer is no already, and the store not yet told (I8).

Level-triggered: for each election it knows what was told last, and what is so now; while they differ it tells, one call at a time.
A change overtaken by a newer one is not told; but every `on_acquire` that was called is followed by its `on_lose` before the next.
A hook delays nothing: neither answers nor the store wait for it. What runs at the end is given its bound (`aclose`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from leaderd.election.state import ElectionView, Snapshot
from leaderd.hooks.call import Hook, HookError, call

Say = Callable[..., None]
MAX_BOUND_S = 5.0


def hook_bound_s(ttl_s: float) -> float:
    """How long a hook may take before it is killed: no news is worth telling for longer than half a lease."""
    return min(MAX_BOUND_S, ttl_s / 2)


@dataclass(frozen=True, slots=True)
class HookSet:
    """What to call; `on_change` is called when the state, the leader, or the token changes."""

    on_acquire: Hook | None = None
    on_lose: Hook | None = None
    on_change: Hook | None = None


@dataclass(frozen=True, slots=True)
class _Level:
    """What can be told of one election."""

    token: int | None
    until_s: float | None
    state: str
    reason: str
    leader: str | None

    @property
    def change(self) -> tuple[object, ...]:
        return (self.token, self.state, self.leader)


_NOTHING = _Level(None, None, "starting", "", None)


class Hooks:
    """Calls the hooks of all elections; `say(level, message, **fields)` hears of those that fail."""

    def __init__(self, hooks: HookSet, bound_s: float, say: Say) -> None:
        self._hooks = hooks
        self._bound_s = bound_s
        self._say = say
        self._now: dict[str, _Level] = {}
        self._held: dict[str, int | None] = {}
        self._told: dict[str, tuple[object, ...]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._instance = ""

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Note what is so now, and see to it that somebody tells."""
        self._instance = new.instance
        for view in new.elections.values():
            self._now[view.name] = _level(view, now_s)
            task = self._tasks.get(view.name)
            if (task is None or task.done()) and self._due(view.name) is not None:
                self._tasks[view.name] = asyncio.get_running_loop().create_task(self._tell(view.name))

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """Renewals are no news."""

    async def aclose(self) -> None:
        """Let what is due be told, each call within its bound: at most an `on_lose` and an `on_change` after the one under way."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=3 * self._bound_s)
            for task in late:
                task.cancel()

    def _due(self, name: str) -> str | None:
        now, held = self._now[name], self._held.get(name)
        if held is not None and held != now.token:
            return "on_lose"
        if held is None and now.token is not None:
            return "on_acquire"
        return "on_change" if self._told.get(name, _NOTHING.change) != now.change else None

    async def _tell(self, name: str) -> None:
        while (due := self._due(name)) is not None:
            now, held = self._now[name], self._held.get(name)
            if due == "on_change":
                self._told[name] = now.change
            else:
                self._held[name] = now.token if due == "on_acquire" else None
            hook: Hook | None = getattr(self._hooks, due)
            if hook is not None:
                await self._call(hook, due, name, now, held if due == "on_lose" else now.token)

    async def _call(self, hook: Hook, due: str, name: str, now: _Level, token: int | None) -> None:
        leads = due != "on_lose" and now.until_s is not None
        facts = {
            "hook": due,
            "election": name,
            "instance": self._instance,
            "leader_instance": now.leader,
            "state": now.state,
            "reason": now.reason,
            "token": token,
            "valid_until_boottime_ns": int(now.until_s * 1e9) if leads and now.until_s is not None else None,
        }
        try:
            await call(hook, facts, self._bound_s)
        except HookError as error:
            self._say(logging.WARNING, f"{name}: hook {due} {error}", election=name, hook=due, token=token)
        except Exception as error:  # noqa: BLE001 - a hook, whatever it is made of, ends no leadership
            self._say(logging.ERROR, f"{name}: hook {due}: {type(error).__name__}: {error}", election=name, hook=due)


def _level(view: ElectionView, now_s: float) -> _Level:
    term = view.term if view.term is not None and view.term.held(now_s) else None
    state, reason = view.state_at(now_s).value, view.reason.value
    if term is None:
        return _Level(None, None, state, reason, view.leader)
    return _Level(term.token, term.valid_until_s, state, reason, view.leader)
