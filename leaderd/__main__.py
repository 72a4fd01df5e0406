"""`leaderd` and `python -m leaderd`: runs the command line; whatever goes wrong becomes one line and an exit code."""

from __future__ import annotations

import os
import sys

from leaderd.cli.commands import run_command
from leaderd.errors import EXIT_BROKEN_PIPE, EXIT_INTERNAL, EXIT_INTERRUPTED, Fatal


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _fill_streams()
    try:
        try:
            code = run_command(sys.argv[1:] if argv is None else argv)
        finally:
            # Here and not at interpreter exit, where a reader that went away would be a traceback.
            sys.stdout.flush()
    except Fatal as exc:
        _complain(exc.message)
        code = exc.code
    except BrokenPipeError:
        _silence(sys.stdout)
        code = EXIT_BROKEN_PIPE
    except OSError as exc:
        _silence(sys.stdout)
        _complain(f"{exc.strerror or exc}{f': {exc.filename}' if exc.filename else ''}")
        code = EXIT_INTERNAL
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as exc:
        if os.environ.get("LEADERD_LOG_LEVEL") == "debug":
            raise
        _complain(f"internal error: {_where(exc)} (LEADERD_LOG_LEVEL=debug shows the traceback)")
        code = EXIT_INTERNAL
    return code


def _fill_streams() -> None:
    """Give closed standard streams to /dev/null: the next file opened would get their number, and log lines would land in it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _complain(message: str) -> None:
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in message)
    try:
        print(f"leaderd: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the command line speaks to its user
    except (OSError, ValueError):
        pass  # stderr is closed: the exit code must do


def _where(exc: Exception) -> str:
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f" at {os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place is not None else ""
    return f"{type(exc).__name__}: {exc}{at}"


def _silence(stream: object) -> None:
    """Let the interpreter's last flush of a broken pipe go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main())
