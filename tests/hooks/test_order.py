"""What is told, when leadership comes and goes faster than a hook can tell it; and how hooks are written down."""

from __future__ import annotations

import asyncio
import logging

import pytest

from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State, Term
from leaderd.hooks import Hook, HookError, Hooks, HookSet, hook_bound_s
from leaderd.hooks import observer as observing

HOOK = Hook(("unused",))


def snapshot(token: int | None, leader: str | None = None) -> Snapshot:
    term = None if token is None else Term(token, 1.0, 100.0)
    phase = next(iter(Phase))
    return Snapshot("pod-a", {"jobs": ElectionView("jobs", phase, State.FOLLOWER, Reason.LEASE_HELD, term=term, leader=leader)})


class Recorder:
    """Stands in for the calls, and holds each until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[object, object, object]] = []
        self.gate = asyncio.Event()
        self.fails = False
        monkeypatch.setattr(observing, "call", self.call)

    async def call(self, _hook: Hook, facts: dict[str, object], _bound_s: float) -> None:
        self.told.append((facts["hook"], facts["token"], facts["valid_until_boottime_ns"]))
        await self.gate.wait()
        if self.fails:
            raise HookError("exit code 1")


async def test_every_acquire_is_followed_by_its_lose_and_the_overtaken_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    hooks = Hooks(HookSet(HOOK, HOOK), 1.0, lambda *_, **__: None)
    hooks.published(snapshot(None), snapshot(1), 2.0)
    await asyncio.sleep(0)
    for token in (None, 2, None, 3):  # all while the first call hangs
        hooks.published(snapshot(None), snapshot(token), 2.0)
    recorder.gate.set()
    await hooks.aclose()
    assert recorder.told == [("on_acquire", 1, 100_000_000_000), ("on_lose", 1, None), ("on_acquire", 3, 100_000_000_000)]


async def test_a_lapsed_term_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    recorder.gate.set()
    hooks = Hooks(HookSet(HOOK, HOOK), 1.0, lambda *_, **__: None)
    hooks.published(snapshot(None), snapshot(1), 2.0)
    await hooks.aclose()
    hooks.published(snapshot(1), snapshot(1), 100.0)
    await hooks.aclose()
    assert [told[0] for told in recorder.told] == ["on_acquire", "on_lose"]


async def test_changes_are_told_once_and_failures_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, said = Recorder(monkeypatch), []
    recorder.gate.set()
    recorder.fails = True
    hooks = Hooks(HookSet(on_change=HOOK), 1.0, lambda level, message, **_: said.append((level, message)))
    for leader in ("pod-b", "pod-b", "pod-c"):
        hooks.published(snapshot(None), snapshot(None, leader), 2.0)
        await hooks.aclose()
    assert [told[0] for told in recorder.told] == ["on_change", "on_change"]
    assert said == [(logging.WARNING, "jobs: hook on_change exit code 1")] * 2


def test_the_bound() -> None:
    assert (hook_bound_s(4.0), hook_bound_s(60.0)) == (2.0, 5.0)
