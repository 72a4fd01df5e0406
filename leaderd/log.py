"""Logging: one line per record on stderr, as JSON for machines or as text for a terminal, that can never hold up an election.

Three rules:

1. The election loop never waits for stderr. A pipe whose reader sleeps, a stopped terminal or a full disk blocks a write for as
   long as it pleases; so records go through a bounded queue to a thread of their own, and what does not fit is dropped and counted.
   A pipe that has room is written to at once, through a description of our own that never waits: who reads the log of a
   hand-over has it half a millisecond to a millisecond sooner than through the thread (measured with `python -m bench handover`).
2. A record is one line. Control characters are escaped, whoever wrote them: the names and details come from stores and peers.
3. A traceback is for developers: it is printed at level debug only, otherwise the error's type, text and place.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import select
import stat
import threading
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType

QUEUE_LINES = 1000
MAX_TEXT_CHARS = 2000
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_RESERVED = frozenset({"ts", "level", "msg", "logger", "error", "at", "traceback"})
# Libraries that tell of every lost packet or request; what matters of that reaches the log as an event of ours.
_CHATTY = ("aiohttp.access", "kazoo", "grpc")


def event(logger: logging.Logger, level: int, message: str, /, **fields: object) -> None:
    """Log `message` with structured fields: `event(log, INFO, "became leader", election=name, token=42)`."""
    logger.log(level, "%s", message, extra={"fields": fields})


def event_of(at_s: float, logger: logging.Logger, level: int, message: str, /, **fields: object) -> None:
    """As `event`, of something that happened at `at_s` (seconds since the epoch) and is told a moment later."""
    logger.log(level, "%s", message, extra={"fields": fields, "at_s": at_s})


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: `ts` (RFC 3339, UTC), `level`, `msg`, `logger`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII; whatever a field holds, it is valid JSON."""
        line: dict[str, object] = {"ts": _timestamp(record), "level": record.levelname.lower(), "msg": _cut(record.getMessage())}
        line["logger"] = record.name
        line |= _fields(record)
        return json.dumps(line, separators=(",", ":"), default=str)


class TextFormatter(logging.Formatter):
    """A record for a terminal: time of day, level, message, then `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; values with spaces or odd characters in quotes."""
        parts = [f"{_timestamp(record)[11:]} {record.levelname:<7} {_escaped(_cut(record.getMessage()))}"]
        parts += [f"{_escaped(key)}={_value(value)}" for key, value in _fields(record).items()]
        return " ".join(parts)


class LogOutput(logging.Handler):
    """The one handler: formats in the caller's thread, writes in its own. `dropped` counts the lines that did not get out."""

    def __init__(self, fd: int = 2, queue_lines: int = QUEUE_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._queue: queue.Queue[bytes | None] = queue.Queue(queue_lines)
        self._unwritten = 0
        self._at_once = _never_waiting(fd)
        self.dropped = 0
        self._told = 0
        self._done = False
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def configure(self, log_format: str, level: str) -> None:
        """Apply `log.format` (`auto`, `json`, `text`) and `log.level`; again on reload."""
        text = log_format == "text" or (log_format == "auto" and _is_terminal(self._fd))
        self.setFormatter(TextFormatter() if text else JsonFormatter())
        logging.getLogger().setLevel(LEVELS[level])
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line; never waits, never raises."""
        try:
            line = self.format(record)
        except Exception as exc:  # noqa: BLE001 - a field that cannot be printed must not end an election
            line = json.dumps({"level": "error", "msg": "a log record could not be written", "error": type(exc).__name__})
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._write_at_once(data):
            return
        self._unwritten += 1  # under the handler's lock, as all of `emit`
        try:
            self._queue.put_nowait(data)
        except queue.Full:
            self._unwritten -= 1
            self.dropped += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, waiting at most `timeout_s`; then lines go nowhere."""
        if not self._done:
            self._done = True
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)
        with self.lock or contextlib.nullcontext():
            if self._at_once is not None:
                os.close(self._at_once)
                self._at_once = None
        super().close()

    def _write_at_once(self, data: bytes) -> bool:
        """Write a line from here, if it cannot overtake another one, and the pipe takes all of it or nothing."""
        if self._at_once is None or self._unwritten > 0 or self.dropped > self._told or len(data) > select.PIPE_BUF:
            return False
        try:
            os.write(self._at_once, data)
        except OSError:  # full, or without a reader: the thread's affair
            return False
        return True

    def _write_lines(self) -> None:
        while (line := self._queue.get()) is not None:
            if self.dropped > self._told:
                lost, self._told = self.dropped - self._told, self.dropped
                record = logging.makeLogRecord(
                    {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": f"{lost} log lines were dropped"}
                )
                line = self.format(record).encode() + b"\n" + line
            self._write(line)
            with self.lock or contextlib.nullcontext():
                self._unwritten -= 1
            if self._done and self._queue.empty():
                return  # there was no room for the None

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                # Somebody who shares our stderr made it non-blocking, and it is full.
                select.select([], [self._fd], [], 1.0)
            except OSError:
                self.dropped += 1
                return


def start(log_format: str = "auto", level: str = "info", fd: int = 2) -> LogOutput:
    """Send all logging to `fd` from now on. Returns the output, for `configure` on reload, `close` at the end, and `dropped`."""
    logging.raiseExceptions = False
    output = LogOutput(fd)
    output.configure(log_format, level)
    logging.getLogger().handlers[:] = [output]
    threading.excepthook = _log_thread_error
    return output


def _never_waiting(fd: int) -> int | None:
    """A description of our own of the pipe behind `fd`, on which a write fails rather than waits; None for anything but a pipe.

    Not a flag on `fd` itself: that would hold for all who share our stderr, whose writes would fail in our place.
    """
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        pass
    return None


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    info = (args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    logging.getLogger(__name__).error("a thread failed: %s", name, exc_info=info)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _timestamp(record: logging.LogRecord) -> str:
    # The wall clock, as read by the logging module: for people, no lease is dated by it.
    at_s: float = getattr(record, "at_s", record.created)
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", None)
    fields: dict[str, object] = {}
    if isinstance(given, dict):
        for key, value in given.items():
            name = str(key)[:64]
            fields[f"{name}_" if name in _RESERVED else name] = _plain(value)
    if record.exc_info and record.exc_info[1] is not None:
        _add_error(fields, record.exc_info[1], record.exc_info[2])
    return fields


def _add_error(fields: dict[str, object], exc: BaseException, traceback: TracebackType | None) -> None:
    fields["error"] = _cut(f"{type(exc).__name__}: {exc}")
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        import traceback as printer

        fields["traceback"] = "".join(printer.format_exception(type(exc), exc, traceback))[-8000:]
        return
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is not None:
        code = traceback.tb_frame.f_code
        fields["at"] = f"{PurePath(code.co_filename).name}:{traceback.tb_lineno} {code.co_name}"


def _plain(value: object) -> object:
    """The value as JSON knows it: no NaN, no endless text, no key that is not text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key)[:64]: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "..."


def _value(value: object) -> str:
    if isinstance(value, str):
        bare = value.isprintable() and value and not any(c in value for c in ' "=\\')
        return value if bare else _escaped(json.dumps(value, ensure_ascii=False))
    return _escaped(json.dumps(value, ensure_ascii=False, default=str))


def _escaped(text: str) -> str:
    """Printable characters as they are, all others as escapes: no line break, no terminal command, no bidi trick gets through."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text)
