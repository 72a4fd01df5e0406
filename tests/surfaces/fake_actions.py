"""`Actions` as the surfaces see it, doing nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from leaderd.actions import ActionRefused, Resigned, Transferred
from leaderd.election.history import TermRecord
from leaderd.election.pause import Pause
from leaderd.journal import Entry, Why


class FakeActions:
    """Notes what it is asked; refuses if it is told to; answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.refuse: ActionRefused | Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.confirmed = True

    async def _note(self, *what: Any) -> None:
        self.asked.append(what)
        await self.go.wait()
        if self.refuse is not None:
            raise self.refuse

    async def resign(self, name: str, *, cooldown_s: float, if_token: int | None) -> Resigned:
        await self._note("resign", name, cooldown_s, if_token)
        return Resigned(name, 42, True, 0.25)

    async def transfer(self, name: str, to: str, *, timeout_s: float, if_token: int | None) -> Transferred:
        await self._note("transfer", name, to, timeout_s, if_token)
        return Transferred(name, 42, to, self.confirmed, 43 if self.confirmed else None, 0.5 if self.confirmed else None)

    async def set_candidacy(self, name: str, standing: bool) -> bool:
        await self._note("candidacy", name, standing)
        return True

    async def pause(self, name: str, *, reason: str, by: str, expires_in_s: float | None) -> Pause:
        await self._note("pause", name, reason, by, expires_in_s)
        return Pause(by, reason, None if expires_in_s is None else 1_795_417_200.0 + expires_in_s)

    async def resume(self, name: str) -> Pause | None:
        await self._note("resume", name)
        return Pause("uid 0", "upgrade", None)

    def history(self, name: str) -> tuple[TermRecord, ...]:
        return (TermRecord(42, "pod-7d9c", 1_795_417_195.0), TermRecord(41, "pod-b", 1_795_417_000.0, 1_795_417_190.0, "resigned"))

    def why(self, name: str) -> Why:
        entries = (
            Entry(1_795_417_195.0, "state", "leads with token 42", 42),
            Entry(1_795_417_197.0, "store", "a\x1b[2J", None, 3, 1_795_417_199.0),
        )
        return Why(name, "pod-7d9c leads since 06:59:55Z with token 42", entries)
