"""One call of a hook: a process of its own group, or a POST to loopback; over within its bound, whatever it does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_MAX_STATUS_LINE_BYTES = 4096
_REAP_S = 1.0


class HookError(Exception):
    """The hook is badly written, could not be called, failed, or took too long; the text says which."""


@dataclass(frozen=True, slots=True)
class Hook:
    """`argv` is run; or, when it is empty, a JSON object is posted to `http://host:port/target`."""

    argv: tuple[str, ...] = ()
    host: str = ""
    port: int = 80
    target: str = "/"


def parse_hook(words: Sequence[str]) -> Hook:
    """A command as a list of words, or one `http://` address on loopback. Raises `HookError` with the rule and the remedy."""
    if not words or not words[0]:
        raise HookError("is empty; write a list, the program first, or one http://127.0.0.1 address")
    if not words[0].startswith(("http://", "https://")):
        return Hook(tuple(words))
    try:
        parts = urlsplit(words[0])
        port = parts.port or 80
    except ValueError:
        raise HookError("is no address; write http://127.0.0.1:PORT/PATH") from None
    if len(words) > 1 or parts.scheme != "http" or parts.username is not None:
        raise HookError("is more than a plain address; write http://127.0.0.1:PORT/PATH alone")
    if parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise HookError("is not on loopback; write http://127.0.0.1:PORT/PATH")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or any(c.isspace() for c in target):
        raise HookError("has a path that is not plain text; percent-encode it")
    return Hook((), parts.hostname, port, target)


async def call(hook: Hook, facts: Mapping[str, object], bound_s: float) -> None:
    """Call it with `facts` (as `LEADERD_...` variables, or as JSON), within `bound_s`. Raises `HookError`."""
    try:
        async with asyncio.timeout(bound_s):
            await (_run(hook, facts) if hook.argv else _post(hook, facts))
    except TimeoutError:
        raise HookError(f"took longer than {bound_s:g}s and was ended") from None
    except OSError as error:
        raise HookError(f"could not be called: {error.strerror or error}") from None


async def _run(hook: Hook, facts: Mapping[str, object]) -> None:
    variables = {f"LEADERD_{name.upper()}": "" if value is None else str(value) for name, value in facts.items()}
    process = await asyncio.create_subprocess_exec(
        *hook.argv,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,  # our own output is the log, a line of JSON each
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = await process.wait()
    finally:
        # Late, or done with children left: its group goes.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        await _reap(process)
    if code != 0:
        raise HookError(f"exit code {code}" if code > 0 else f"ended by signal {-code}")


async def _reap(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_REAP_S):
            await process.wait()
    except TimeoutError:
        pass  # it runs as somebody else, or hangs in the kernel: nobody waits for it any longer


async def _post(hook: Hook, facts: Mapping[str, object]) -> None:
    body = json.dumps(facts).encode()
    host = f"[{hook.host}]" if ":" in hook.host else hook.host
    head = (
        f"POST {hook.target} HTTP/1.1\r\nHost: {host}:{hook.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(hook.host, hook.port, limit=_MAX_STATUS_LINE_BYTES)
    try:
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        words = (await reader.readline()).split()
    except ValueError:
        words = []
    finally:
        writer.transport.abort()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        raise HookError("did not answer in HTTP")
    if not words[1].startswith(b"2"):
        raise HookError(f"answered {words[1][:3].decode('ascii', 'replace')}")
