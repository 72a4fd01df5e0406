"""Hooks: parsed, called within their bound, in order, by a real daemon too."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leaderd.hooks import Hook, HookError, parse_hook
from leaderd.hooks.call import call
from tests.listener import listening
from tests.system.daemons import DaemonProcess, boot_s, wait_until

WRITE = """
import os, sys
with open(sys.argv[1], "a") as file:
    e = os.environ
    print(e["LEADERD_HOOK"], e["LEADERD_ELECTION"], e["LEADERD_TOKEN"], e["LEADERD_VALID_UNTIL_BOOTTIME_NS"], file=file)
"""


def test_commands_and_addresses() -> None:
    assert parse_hook(["sh", "-c", "true"]) == Hook(("sh", "-c", "true"))
    assert parse_hook(["http://127.0.0.1:8080/on?x=1"]) == Hook((), "127.0.0.1", 8080, "/on?x=1")


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["http://10.0.0.1/x"],
        ["http://127.0.0.1:99999/"],
        ["https://127.0.0.1/"],
        ["http://u:p@127.0.0.1/"],
        ["http://[::1]/", "x"],
    ],
)
def test_what_is_refused(words: list[str]) -> None:
    with pytest.raises(HookError):
        parse_hook(words)


async def test_a_slow_hook_is_killed_at_its_bound() -> None:
    began_s = boot_s()
    with pytest.raises(HookError, match="took longer"):
        await call(Hook(("sh", "-c", "trap '' TERM; sleep 30; sleep 30")), {}, 0.3)
    assert boot_s() - began_s < 5.0


@pytest.mark.parametrize(("argv", "said"), [(("sh", "-c", "exit 3"), "exit code 3"), (("/no/such/hook",), "could not be called")])
async def test_a_failing_hook_says_why(argv: tuple[str, ...], said: str) -> None:
    with pytest.raises(HookError, match=said):
        await call(Hook(argv), {}, 5.0)


@pytest.mark.parametrize(("status", "fails"), [("204 No Content", False), ("500 Broken", True)])
async def test_a_post_to_loopback(status: str, fails: bool) -> None:
    bodies = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with listening(serve) as port:
        hook = Hook((), "127.0.0.1", port, "/on")
        if fails:
            with pytest.raises(HookError, match="answered 500"):
                await call(hook, {"token": 7}, 5.0)
        else:
            await call(hook, {"token": 7}, 5.0)
    assert bodies == [{"token": 7}]


def test_a_daemon_tells_in_order_and_a_hanging_hook_delays_no_answer(tmp_path: Path) -> None:
    script, out = tmp_path / "hook.py", tmp_path / "out"
    script.write_text(WRITE)
    argv = json.dumps([sys.executable, str(script), str(out)])
    config = f"hooks: {{on_acquire: {argv}, on_lose: {argv}, on_change: [sleep, 60]}}\n"
    daemon = DaemonProcess("pod-a", f"local://{tmp_path}/store", tmp_path, config=config)
    try:
        daemon.start()
        wait_until(daemon.leads, 10.0, "it leads, whatever the hook does")
        wait_until(lambda: out.exists() and "on_acquire" in out.read_text(), 15.0, "on_acquire was called")
        token = daemon.get("/is-leader?promise=0")[1]["token"]
        daemon.send(signal.SIGTERM)
        assert daemon.wait(20.0) == 0
    finally:
        daemon.end()
    told = [line.split() for line in out.read_text().splitlines()]
    assert [line[:3] for line in told] == [["on_acquire", "jobs", str(token)], ["on_lose", "jobs", str(token)]]
    assert len(told[0]) == 4  # a deadline, while leading
    assert len(told[1]) == 3


@pytest.fixture
def deaf() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port of loopback that accepts, and never answers; and who came."""
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    came.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        for sock in came:
            sock.close()


def ended(sock: socket.socket) -> bool:
    """Whether the other end has closed, after whatever it sent."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("kind", ["command", "post"])
def test_a_successor_leads_while_the_hook_on_lose_still_hangs(
    tmp_path: Path, deaf: tuple[int, list[socket.socket]], kind: str
) -> None:
    """The bound is 5 s here. Whoever waited for the hook would lead after its end, and not before."""
    port, came = deaf
    note = tmp_path / "pid"
    hook = ["sh", "-c", f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 60"]
    config = f"hooks: {{on_lose: {json.dumps(hook if kind == 'command' else [f'http://127.0.0.1:{port}/lost'])}}}\n"
    url = f"local://{tmp_path}/store"
    first = DaemonProcess("pod-a", url, tmp_path, ttl="30s", config=config)
    second = DaemonProcess("pod-b", url, tmp_path, ttl="30s")
    try:
        first.start()
        wait_until(first.leads, 20.0, "pod-a leads")
        second.start()
        wait_until(lambda: second.get("/is-leader?promise=0")[1].get("state") == "follower", 20.0, "pod-b waits")
        first.send(signal.SIGTERM)
        if kind == "command":

            def hangs() -> bool:
                return note.exists() and Path(f"/proc/{note.read_text().strip()}").exists()

            wait_until(second.leads, 20.0, "pod-b leads")
            wait_until(hangs, 4.0, "the hook runs")  # it may not have been given a processor before
        else:
            wait_until(second.leads, 20.0, "pod-b leads")
            wait_until(lambda: came, 4.0, "the hook is called")
            assert not ended(came[0])
            wait_until(lambda: ended(came[0]), 15.0, "it is given up at its bound")
        assert first.wait(30.0) == 0
    finally:
        first.end()
        second.end()


async def test_a_post_that_is_never_answered_is_given_up_at_its_bound(deaf: tuple[int, list[socket.socket]]) -> None:
    port, came = deaf
    began_s = boot_s()
    with pytest.raises(HookError, match="took longer"):
        await call(Hook((), "127.0.0.1", port, "/on"), {"token": 7}, 0.3)
    assert boot_s() - began_s < 5.0
    async with asyncio.timeout(5.0):
        while not ended(came[0]):
            await asyncio.sleep(0)
