"""Three real daemons on any store, watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.daemons import DaemonProcess, Watcher, wait_until

Fleet = Callable[..., tuple[list[DaemonProcess], Watcher]]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """`fleet(store_url, count=3, **daemon_options)`: started daemons and a running watcher; all gone after the test."""
    started: list[DaemonProcess] = []
    watchers: list[Watcher] = []

    def make(store_url: str, count: int = 3, **options: object) -> tuple[list[DaemonProcess], Watcher]:
        first = len(started)
        daemons = [DaemonProcess(f"pod-{chr(97 + first + i)}", store_url, tmp_path, **options) for i in range(count)]  # type: ignore[arg-type]
        started.extend(daemons)
        for daemon in daemons:
            daemon.start()
        watcher = Watcher(daemons)
        watcher.__enter__()
        watchers.append(watcher)
        return daemons, watcher

    yield make
    for watcher in watchers:
        watcher.__exit__()
    for daemon in started:
        daemon.end()


def leader_of(daemons: list[DaemonProcess], watcher: Watcher, within_s: float = 10.0) -> DaemonProcess:
    """The daemon that leads, once one does."""
    name = wait_until(watcher.leader, within_s, "somebody leads")
    return next(daemon for daemon in daemons if daemon.name == name)


def next_leader(daemons: list[DaemonProcess], watcher: Watcher, old: DaemonProcess, within_s: float) -> DaemonProcess:
    """Another daemon than `old` that leads, once one does."""
    name = wait_until(lambda: (n := watcher.leader()) != old.name and n, within_s, f"somebody but {old.name} leads")
    return next(daemon for daemon in daemons if daemon.name == name)
