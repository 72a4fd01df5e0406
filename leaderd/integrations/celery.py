"""Celery beat on every instance, sending only where this instance leads.

::

    app.conf.leaderd_election = "beat"     # not needed where the daemon has one election
    celery -A app beat -S leaderd.integrations.celery:LeaderScheduler

A follower's schedule runs along without sending anything, so that whoever takes over goes on in step: a job of every 15 minutes
does not wait for another 15 because the leader changed. A slot that falls into the change itself is skipped, unless
`app.conf.leaderd_catch_up_s` says for how many seconds after its time it may still be sent; then it may be sent twice, because
nobody knows whether the last leader did. Each instance keeps a schedule file of its own, as beat does.

Other schedulers: `class Mine(LeaderMixin, TheirScheduler)`; with `runs_along = False` where they keep their schedule in one place
for all instances (django-celery-beat), since a follower would tick off there what nobody has sent.
"""

from __future__ import annotations

import logging
from time import CLOCK_BOOTTIME, clock_gettime
from typing import TYPE_CHECKING, Any

from celery.beat import PersistentScheduler

from leaderd.client import DaemonUnreachable, Leader, NotLeader

if TYPE_CHECKING:
    _Scheduler = Any
else:
    _Scheduler = object

LOOK_EVERY_S = 1.0
"""How often somebody who waits for leadership looks."""
_log = logging.getLogger(__name__)


class LeaderMixin(_Scheduler):  # type: ignore[misc]
    """Put before a scheduler of Celery beat: it sends only while this instance leads, asked anew for each task."""

    runs_along = True
    """Whether the schedule moves on where nothing is sent; False for a schedule that all instances share."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery has no types
        self.leader: Leader = app.conf.get("leaderd_leader") or Leader(app.conf.get("leaderd_election"))
        self.catch_up_s = float(app.conf.get("leaderd_catch_up_s") or 0.0)
        self._skipped: dict[str, tuple[float, Any]] = {}
        super().__init__(app, *args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401
        """One round of beat; seconds until the next."""
        if self.leader.is_leader():
            self._catch_up()
            return float(super().tick(*args, **kwargs))
        if not self.runs_along:
            return LOOK_EVERY_S
        return min(float(super().tick(*args, **kwargs)), LOOK_EVERY_S)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:  # noqa: ANN401
        """Send a task that is due, if we lead."""
        try:
            self.leader.require()
        except (NotLeader, DaemonUnreachable) as error:
            _log.debug("not sent: %s: %s", entry.name, error)
            if self.catch_up_s > 0:
                self._skipped[entry.name] = (_now_s(), entry)
            return
        self._skipped.pop(entry.name, None)
        super().apply_entry(entry, producer=producer)

    def _catch_up(self) -> None:
        """Send what was due just before we took over."""
        skipped, self._skipped = self._skipped, {}
        for at_s, entry in skipped.values():
            if _now_s() - at_s <= self.catch_up_s:
                self.apply_entry(entry, producer=self.producer)


def _now_s() -> float:
    return clock_gettime(CLOCK_BOOTTIME)


class LeaderScheduler(LeaderMixin, PersistentScheduler):  # type: ignore[misc]
    """Celery's own scheduler, sending only while this instance leads."""
