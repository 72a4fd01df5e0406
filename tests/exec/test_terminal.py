"""`leaderd exec` on a terminal: Ctrl-C and Ctrl-Z do what a user of a shell expects."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.exec.conftest import PATIENCE_S, Bed, living, stopped
from tests.system.daemons import wait_until

Start = Callable[[Bed, str], tuple[int, int]]


@pytest.fixture
def on_terminal() -> Iterator[Start]:
    """Starts a script under `leaderd exec` as the foreground job of a terminal of its own: pid and the terminal's other end."""
    started: list[tuple[int, int]] = []

    def start(bed: Bed, script: str) -> tuple[int, int]:
        environ = os.environ | {"LEADERD_SOCKET": str(bed.daemon.socket), "BED": str(bed.folder)}
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "leaderd", "exec", "--", "sh", "-c", script], environ)
        started.append((pid, terminal))
        return pid, terminal

    yield start
    for pid, terminal in started:
        if living(pid):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        with suppress(OSError):
            os.close(terminal)


def test_control_c_interrupts_the_command(bed: Bed, on_terminal: Start) -> None:
    pid, terminal = on_terminal(bed, "trap 'echo told >$BED/told; exit 41' INT; echo $$ >$BED/pid; while :; do sleep 0.05; done")
    bed.pid("pid")
    os.write(terminal, b"\x03")
    assert bed.read("told") == "told"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 41


def test_control_z_stops_the_command_and_fg_goes_on(make_bed: Callable[..., Bed], on_terminal: Start) -> None:
    bed = make_bed(ttl="2m")  # the promise outlives the stop however busy the machine is, else the keeper would rightly end it
    pid, terminal = on_terminal(bed, "echo $$ >$BED/pid; while ! test -e $BED/end; do sleep 0.05; done; exit 42")
    command = bed.pid("pid")
    os.write(terminal, b"\x1a")
    found, status = os.waitpid(pid, os.WUNTRACED)
    assert (found, os.WIFSTOPPED(status)) == (pid, True), "the shell has its prompt back"
    wait_until(lambda: stopped(command), PATIENCE_S, "the command is stopped too")
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not stopped(command), PATIENCE_S, "it goes on")
    (bed.folder / "end").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_it_reads_what_is_typed(bed: Bed, on_terminal: Start) -> None:
    pid, terminal = on_terminal(bed, "echo $$ >$BED/pid; read line; echo $line >$BED/line; stty size >$BED/size")
    bed.pid("pid")
    os.write(terminal, b"hello\n")
    assert bed.read("line") == "hello"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_terminal_that_goes_away_ends_it(bed: Bed, on_terminal: Start) -> None:
    pid, terminal = on_terminal(bed, "echo $$ >$BED/pid; exec sleep 60")
    command = bed.pid("pid")
    os.close(terminal)
    wait_until(lambda: not living(command), PATIENCE_S, "it is gone")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
