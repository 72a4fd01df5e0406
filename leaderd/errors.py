"""Exit codes, and the one exception that means "tell the user this line and stop"."""

from __future__ import annotations

EXIT_OK = 0
EXIT_NOT_LEADER = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
"""A client command could not get an answer from the daemon."""
EXIT_INTERNAL = 70
"""The daemon met something it did not expect, ended its leadership and stopped: start it again."""
EXIT_CONFIG = 78
"""The configuration is refused: starting again without a change is of no use."""
EXIT_TIMEOUT = 124
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Fatal(Exception):
    """Ends the command with `message` on stderr, one clear line for the user, and the exit code `code`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
