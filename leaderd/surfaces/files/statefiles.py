"""The state files of one daemon: leases written within the step, JSON renamed into place by a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from leaderd import log
from leaderd.surfaces.files.lease import LeaseFile, StateFileError
from leaderd.surfaces.view import View

__all__ = ["StateFileError", "StateFiles"]

_LOG = logging.getLogger("leaderd")
_SETTLE_S = 0.05
"""How much later than the lease the JSON is written: its thread would share the processor with a hand-over (2 to 3 ms of it)."""


class StateFiles:
    """`NAME.lease` and `NAME.json` for each election, in `directory`. `mode`: permission bits of both."""

    def __init__(self, view: View, directory: Path, mode: int, group_id: int | None) -> None:
        self._view = view
        self._directory = directory
        self._mode = mode
        self._group_id = group_id
        self._leases: dict[str, LeaseFile] = {}
        self._unsubscribe: Callable[[], None] = lambda: None
        self._dirty = False
        self._task: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._failed = False
        self._shown: object = None
        self._complained = False

    def start(self) -> None:
        """Take over the files. Raises `StateFileError`, also when another daemon writes them."""
        try:
            for name in self._view.names():
                self._leases[name] = LeaseFile(self._directory / f"{name}.lease", self._mode, self._group_id)
        except StateFileError:
            self._close()
            raise
        self._unsubscribe = self._view.board.subscribe(self._on_published)
        self._on_published()

    async def stop(self) -> None:
        """Zero the leases at once, then take the JSON away: who is no longer there leads nothing."""
        self._unsubscribe()
        names = tuple(self._leases)
        self._close()
        self._dirty = False
        if self._soon is not None:
            self._soon.cancel()
        if self._task is not None:
            await self._task
        await asyncio.to_thread(self._remove, names)

    def _on_published(self) -> None:
        # Runs within the step, before any command of it leaves for the store: a release zeroes the field first (I8).
        try:
            for name, lease in self._leases.items():
                view = self._view.board.snapshot.elections[name]
                term = view.term
                if term is None or term.doubted:
                    lease.write(0, 0, view.index)
                else:
                    lease.write(term.token, math.floor(term.valid_until_s * 1_000_000_000), view.index)
        except OSError:
            # A field that cannot be zeroed: fail closed, once; the crash that follows publishes again.
            if not self._failed:
                self._failed = True
                raise
        self._dirty = True
        if self._task is None and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SETTLE_S, self._start_writing)

    def _start_writing(self) -> None:
        self._soon = None
        self._task = asyncio.get_running_loop().create_task(self._write_json())

    async def _write_json(self) -> None:
        try:
            while self._dirty:
                self._dirty = False
                bodies = {name: self._body(name) for name in self._leases}
                await asyncio.to_thread(self._replace_all, bodies)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.event(_LOG, logging.WARNING, f"cannot write the JSON state files in {self._directory}: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - nobody awaits this task; the lease files do not depend on it
            log.event(_LOG, logging.ERROR, f"the JSON state files are not written: {type(error).__name__}: {error}")
        finally:
            self._task = None

    def _body(self, name: str) -> bytes:
        answer = self._view.ask(name, promise_s=0.0)
        body = self._view.body(answer)
        if answer.leader and answer.lease_until_s is not None:
            # As in the lease file: until when it is true as things stand. A file promises nothing.
            body["valid_for_ms"] = body["lease_remaining_ms"]
            body["valid_until_boottime_ns"] = math.floor(answer.lease_until_s * 1_000_000_000)
        return json.dumps(body).encode() + b"\n"

    def _replace_all(self, bodies: dict[str, bytes]) -> None:
        for name, body in bodies.items():
            temporary = self._directory / f".{secrets.token_hex(6)}.tmp"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    os.fchmod(fd, self._mode)
                    if self._group_id is not None:
                        os.fchown(fd, -1, self._group_id)
                    file.write(body)
                os.rename(temporary, self._directory / f"{name}.json")
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise

    def _remove(self, names: tuple[str, ...]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                (self._directory / f"{name}.json").unlink()

    def _close(self) -> None:
        for lease in self._leases.values():
            lease.close()
        self._leases = {}
