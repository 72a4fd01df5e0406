"""`leaderd status --watch` on a real (pseudo) terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import LEADING, response
from tests.cli.test_status import BODY


class Terminal:
    """The command on a terminal; what it has drawn so far."""

    def __init__(self, *command, **environ):
        self.parent, child = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "leaderd", *command],
            stdin=child,
            stdout=child,
            stderr=child,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "30", "PYTHONUTF8": "1", **environ},
        )
        os.close(child)
        self.seen = ""

    def until(self, text):
        """Read until `text` stands there, escape sequences not counted; what was drawn since the last look."""
        return self._read(lambda: text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen))

    def until_raw(self, text):
        return self._read(lambda: text in self.seen)

    def _read(self, enough, within_s=10.0):
        end_s = time.monotonic() + within_s
        while not enough():
            assert time.monotonic() < end_s, self.seen
            if select.select([self.parent], [], [], 0.1)[0]:
                self.seen += os.read(self.parent, 65536).decode()
        drawn, self.seen = self.seen, ""
        return drawn

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.parent)


@pytest.fixture
def terminal(daemon):
    opened = []

    def start(*command, **environ):
        opened.append(Terminal(*command, "--socket", daemon.path, **environ))
        return opened[-1]

    yield start
    for each in opened:
        each.end()


def test_it_draws_keeps_drawing_and_leaves_the_screen_as_it_was(daemon, terminal):
    daemon.answer(response(200, BODY))
    shown = terminal("status", "--watch")
    assert "\x1b[?1049h" in shown.until("pod-1 (this instance)")
    shown.until("pod-1 (this instance)")
    shown.process.send_signal(signal.SIGINT)
    shown.until_raw("\x1b[?25h\x1b[?1049l")
    assert shown.process.wait(5) == 130


def test_with_the_daemon_gone_the_lease_runs_out_on_the_screen(daemon, terminal):
    body = BODY | {"elections": [LEADING | {"lease_remaining_ms": 1500, "candidates": []}]}
    daemon.answer(response(200, body), response(404, {}), b"")
    shown = terminal("status", "--watch")
    shown.until("leads here")
    shown.until("lease ran out")
    shown.until("before it had answered")


def test_no_colours_where_none_are_wanted(daemon, terminal):
    daemon.answer(response(200, BODY))
    shown = terminal("status", "--watch", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*m", shown.until("daily-report"))


def test_an_unknown_election_is_said_before_the_screen_changes(daemon, terminal):
    daemon.answer(response(200, BODY))
    shown = terminal("status", "nope", "--watch")
    assert "\x1b[?1049h" not in shown.until("it stands in: a, daily-report, new")
    assert shown.process.wait(5) == 2


def test_into_a_pipe_it_is_the_plain_table(daemon):
    daemon.answer(response(200, BODY))
    command = [sys.executable, "-m", "leaderd", "status", "--watch", "-o", "json", "--socket", daemon.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["instance"] == "pod-1"
        process.kill()
