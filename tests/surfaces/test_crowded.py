"""More clients than there are file descriptors: said once, and by nobody else's error."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

import pytest

from leaderd.surfaces.crowded import Crowded

CHILD = """
import asyncio, logging, resource, sys
from leaderd.surfaces.crowded import Crowded
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
attempts = []
class Counted(Crowded):
    def __call__(self, loop, context):
        attempts.append(context)
        super().__call__(loop, context)
async def main():
    asyncio.get_running_loop().set_exception_handler(Counted())
    server = await asyncio.start_unix_server(lambda reader, writer: None, sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    print("listens", flush=True)
    while len(attempts) < 20:
        await asyncio.sleep(0.01)
    print("many attempts", flush=True)
asyncio.run(main())
"""


def test_a_crowd_is_one_line(tmp_path):
    path = str(tmp_path / "s")
    command = [sys.executable, "-c", CHILD, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listens\n"
        clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        try:
            for client in clients:
                client.connect(path)
            said = child.stdout.read().splitlines()
        finally:
            for client in clients:
                client.close()
    assert len(said) == 2, said
    assert said[0].startswith("WARNING new clients wait")
    assert said[1] == "many attempts"


class Loop:
    """A loop whose time we set."""

    def __init__(self):
        self.now_s, self.reported = 1000.0, []

    def time(self):
        return self.now_s

    def default_exception_handler(self, context):
        self.reported.append(context)


CROWD = {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "many"), "socket": object()}


def test_it_is_said_again_after_a_while(caplog):
    loop, handler = Loop(), Crowded()
    for at_s in (0.0, 1.0, 59.0, 61.0, 62.0):
        loop.now_s = 1000.0 + at_s
        handler(loop, CROWD)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert loop.reported == []


@pytest.mark.parametrize(
    "context",
    [
        {"message": "Task exception was never retrieved", "exception": ValueError("x")},
        {"message": "x"},
        {**CROWD, "exception": OSError(errno.EBADF, "bad")},
        {"message": "the etcd driver failed", "exception": OSError(errno.EMFILE, "many")},
    ],
)
def test_whatever_else_happened_is_reported_as_ever(context, caplog):
    loop = Loop()
    Crowded()(loop, context)
    assert loop.reported == [context]
    assert not caplog.records
