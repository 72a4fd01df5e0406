import json
import logging
import os
import threading
import time

import pytest

from leaderd import log

LOGGER = logging.getLogger("leaderd.test")


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.fixture
def root():
    """Puts logging back as it was."""
    logger = logging.getLogger()
    handlers, level, raising, hook = logger.handlers[:], logger.level, logging.raiseExceptions, threading.excepthook
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.raiseExceptions, threading.excepthook = raising, hook


@pytest.fixture
def lines(pipe, root):
    """Everything logged by `say`, as text, once the output is closed."""
    read, write = pipe

    def run(say, log_format="json", level="info"):
        output = log.start(log_format, level, fd=write)
        say()
        output.close()
        os.close(write)
        with open(read, closefd=False) as file:
            return file.read()

    return run


def test_json(lines):
    text = lines(lambda: log.event(LOGGER, logging.INFO, "a: follower -> leader", election="a", token=42, valid_for_ms=9400))
    line = json.loads(text)
    assert line.pop("ts")[-1] == "Z"
    assert line == {
        "level": "info",
        "msg": "a: follower -> leader",
        "logger": "leaderd.test",
        "election": "a",
        "token": 42,
        "valid_for_ms": 9400,
    }


def test_text(lines):
    text = lines(
        lambda: log.event(LOGGER, logging.WARNING, "lost it", reason="lease expired", held_s=1.5, **{"from": "leader"}), "text"
    )
    assert text[12:] == 'Z WARNING lost it reason="lease expired" held_s=1.5 from=leader\n'


def test_what_is_told_a_moment_later_bears_its_own_time(lines):
    def say():
        log.event_of(1767225600.25, LOGGER, logging.INFO, "a: leader -> draining", election="a")

    line = json.loads(lines(say))
    assert line.pop("ts") == "2026-01-01T00:00:00.250Z"
    assert line == {"level": "info", "msg": "a: leader -> draining", "logger": "leaderd.test", "election": "a"}


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_record_is_one_printable_line(lines, log_format):
    nasty = "x\n\r\x00\x1b[2J\u2028\u202e\x85\ud800" + "y" * 5000
    text = lines(
        lambda: log.event(LOGGER, logging.INFO, f"peer {nasty}", **{"name": nasty, nasty: nasty, "deep": {"k": [nasty]}}),
        log_format,
    )
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert len(text) < 12_000


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_any_value_can_be_logged(lines, log_format):
    class Awkward:
        def __str__(self):
            raise RuntimeError("no text for you")

    def say():
        log.event(LOGGER, logging.INFO, "odd", nan=float("nan"), some={1: (2, {3})}, none=None, yes=True, level="mine", msg="mine")
        log.event(LOGGER, logging.INFO, "awkward", it=Awkward())
        LOGGER.info("%d", "no number")

    first, *rest = lines(say, log_format).splitlines()
    assert len(rest) == 2
    assert all("could not be written" in line for line in rest)
    if log_format == "json":
        found = json.loads(first)
        assert (found["level"], found["level_"], found["msg_"], found["nan"], found["some"]) == (
            "info",
            "mine",
            "mine",
            "nan",
            {"1": [2, [3]]},
        )


def fail():
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        LOGGER.exception("it failed")


def test_no_traceback_for_users(lines):
    line = json.loads(lines(fail))
    assert line["error"] == "ValueError: bad\nthing"
    assert line["at"].startswith("test_log.py:")
    assert "traceback" not in line


def test_a_traceback_for_developers(lines):
    assert "Traceback" in json.loads(lines(fail, level="debug"))["traceback"]


def test_format_and_level_can_be_switched(pipe, root):
    read, write = pipe
    output = log.start("auto", "warning", fd=write)
    LOGGER.info("not this")
    LOGGER.warning("as json: a pipe is no terminal")
    output.configure("text", "debug")
    LOGGER.debug("as text")
    output.close()
    os.close(write)
    with open(read, closefd=False) as file:
        first, second = file.read().splitlines()
    assert json.loads(first)["level"] == "warning"
    assert second.endswith("DEBUG   as text")


def test_auto_is_text_on_a_terminal(root):
    main, terminal = os.openpty()
    try:
        output = log.start("auto", "info", fd=terminal)
        LOGGER.info("hello")
        output.close()
        assert b"INFO    hello" in os.read(main, 1000)
    finally:
        os.close(main)
        os.close(terminal)


def test_chatty_libraries_are_quiet_below_debug(root, pipe):
    log.start("json", "info", fd=pipe[1]).close()
    assert not logging.getLogger("kazoo.client").isEnabledFor(logging.ERROR)
    log.start("json", "debug", fd=pipe[1]).close()
    assert logging.getLogger("kazoo.client").isEnabledFor(logging.DEBUG)


def test_a_pipe_with_room_has_the_line_when_the_call_returns(pipe, root, monkeypatch):
    output = log.start("json", fd=pipe[1])
    monkeypatch.setattr(output._queue, "put_nowait", lambda line: pytest.fail("went through the thread"))
    os.set_blocking(pipe[0], False)
    for number in range(3):
        log.event(LOGGER, logging.INFO, "now", number=number)
        assert json.loads(os.read(pipe[0], 65536))["number"] == number
    output.close()


def read_all(fd):
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def test_lines_keep_their_order_however_they_get_out(pipe, root):
    """A pipe that fills and empties again: some lines go at once, some through the thread; none overtakes, none is lost twice."""
    output = log.start("json", fd=pipe[1])
    got = bytearray()
    for number in range(2000):
        log.event(LOGGER, logging.INFO, "x" * 200, number=number)
        if number % 500 == 499:
            got += os.read(pipe[0], 1 << 20)
    reader = threading.Thread(target=lambda: got.extend(read_all(pipe[0])))
    reader.start()
    output.close(10.0)
    os.close(pipe[1])
    reader.join(10)
    numbers = [json.loads(line).get("number") for line in got.decode().splitlines()]
    seen = [number for number in numbers if number is not None]
    assert seen == sorted(set(seen))
    assert len(seen) + output.dropped == 2000


def test_a_blocked_stderr_loses_lines_and_holds_up_nobody(pipe, root):
    read, write = pipe
    output = log.start("json", "info", fd=write)
    slowest_s = 0.0
    for number in range(log.QUEUE_LINES * 3):
        before_s = time.perf_counter()
        log.event(LOGGER, logging.INFO, "x" * 500, number=number)
        slowest_s = max(slowest_s, time.perf_counter() - before_s)
    assert slowest_s < 1.0
    assert output.dropped >= log.QUEUE_LINES
    # The reader comes back: the rest is written, and a line says how much is missing.
    found = bytearray()

    def read_all():
        while data := os.read(read, 65536):
            found.extend(data)

    reader = threading.Thread(target=read_all)
    reader.start()
    output.close(timeout_s=10)
    os.close(write)
    reader.join(10)
    messages = [json.loads(line) for line in found.splitlines()]
    told = [int(m["msg"].removesuffix(" log lines were dropped")) for m in messages if m["level"] == "warning"]
    assert sum(told) == output.dropped
    assert len(messages) == 3 * log.QUEUE_LINES - output.dropped + len(told)


def test_closing_a_blocked_output_takes_bounded_time(pipe, root):
    output = log.start("json", "info", fd=pipe[1])
    for _ in range(log.QUEUE_LINES):
        LOGGER.info("x" * 500)
    before_s = time.perf_counter()
    output.close(timeout_s=0.1)
    output.close(timeout_s=0.1)
    assert time.perf_counter() - before_s < 5
    # Once the reader is gone the thread ends, before the next test reuses its file descriptor.
    os.close(pipe[0])
    output._thread.join(10)
    assert not output._thread.is_alive()


def test_a_closed_stderr_is_survived(root):
    read, write = os.pipe()
    os.close(read)
    output = log.start("json", "info", fd=write)
    LOGGER.info("into the void")
    output.close()
    assert output.dropped == 1
    os.close(write)


def test_a_non_blocking_stderr_is_waited_for(pipe, root):
    read, write = pipe
    os.set_blocking(write, False)
    output = log.start("json", "info", fd=write)
    for _ in range(400):
        LOGGER.info("x" * 500)
    got = bytearray()
    while got.count(b"\n") < 400:
        got.extend(os.read(read, 65536))
    output.close()
    assert output.dropped == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_a_thread_is_logged(lines):
    def say():
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()

    line = json.loads(lines(say))
    assert (line["msg"], line["error"]) == ("a thread failed: worker", "ZeroDivisionError: division by zero")
