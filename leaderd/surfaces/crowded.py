"""When no file descriptor is left for another client: one line in the log, not a hundred a second.

asyncio goes on by itself: it stops accepting for a second at a time, and those who are connected notice nothing. But it reports
each attempt as an error, and attempts as often as the listener's queue is long (CPython's `_accept_connection`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any

from leaderd import log

_LOG = logging.getLogger("leaderd")
_EVERY_S = 60.0
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Crowded:
    """The exception handler of a loop, for clients that cannot be accepted. Whatever else happened is reported as ever."""

    def __init__(self) -> None:
        self._told_s: float | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What `loop.set_exception_handler` calls."""
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError) or error.errno not in _OUT_OF:
            loop.default_exception_handler(context)
            return
        if self._told_s is None or loop.time() - self._told_s >= _EVERY_S:
            self._told_s = loop.time()
            message = "new clients wait, for nothing is left to serve them with: see who connects, or raise the limit of open files"
            log.event(_LOG, logging.WARNING, message, why=errno.errorcode[error.errno])
