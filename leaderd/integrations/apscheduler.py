"""APScheduler 3: a scheduler that is paused unless this instance leads.

::

    scheduler = BackgroundScheduler()
    binding = bind(scheduler, Leader("jobs"))   # starts it, paused
    ...
    binding.stop()

Pausing stops new runs, at most `every_s` after the term ends. A job that must not run twice asks for itself (`@leader.only`).
"""

from __future__ import annotations

import threading
from typing import Protocol

from leaderd.client import Leader


class Scheduler(Protocol):
    """What is used of `apscheduler.schedulers.base.BaseScheduler`."""

    running: bool

    def start(self, paused: bool = ...) -> None:
        """Begin."""

    def pause(self) -> None:
        """No more runs."""

    def resume(self) -> None:
        """Runs again."""


class Binding:
    """Keeps the scheduler in step with leadership, from a thread of its own."""

    def __init__(self, scheduler: Scheduler, leader: Leader, every_s: float) -> None:
        self._scheduler = scheduler
        self._leader = leader
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leaderd-apscheduler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        resumed = False
        while not self._stopping.is_set():
            leading = self._leader.is_leader()
            if leading != resumed and self._scheduler.running:
                self._scheduler.resume() if leading else self._scheduler.pause()
                resumed = leading
            self._stopping.wait(self._every_s)
        if resumed and self._scheduler.running:
            self._scheduler.pause()

    def stop(self) -> None:
        """Pause the scheduler for good, and end the thread."""
        self._stopping.set()
        self._thread.join()


def bind(scheduler: Scheduler, leader: Leader, every_s: float = 0.1) -> Binding:
    """Start `scheduler` paused, unless it runs; from then on it runs only while `leader` leads, looked at every `every_s`."""
    if scheduler.running:
        scheduler.pause()
    else:
        scheduler.start(paused=True)
    return Binding(scheduler, leader, every_s)
