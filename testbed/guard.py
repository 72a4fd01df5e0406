"""Run a program that cannot outlive its parent: `python -I -S guard.py PARENT_PID PROGRAM ARGUMENT...`.

Sets PR_SET_PDEATHSIG and becomes the program, keeping the process id. A program of its own rather than a `preexec_fn`,
because code between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arm the parent-death signal, look whether the parent has died already, become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"the parent {parent} is gone")
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"cannot start {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
