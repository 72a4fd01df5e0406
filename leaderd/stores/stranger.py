"""Who answers at a store's address when the store does not: otherwise a wrong port is waited out like an outage.

Two of the three protocols say nothing to those who speak another: a ZooKeeper server hangs up on a client of etcd or Consul without
a word, and etcd and Consul wait for the end of a line that a client of ZooKeeper never sends. So whoever is there is greeted in
each of their tongues, on connections of their own, by questions that change nothing: ZooKeeper's `srvr` and an HTTP `GET /`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from leaderd.election.problems import Problem, Reason

_GREETINGS = (b"srvr", b"GET / HTTP/1.0\r\n\r\n")
_ENOUGH = 64
_WITHIN_S = 0.5
_TONGUES = {"zookeeper": "ZooKeeper", "etcd": "HTTP", "consul": "HTTP"}
"""What each kind of store answers to one of the greetings: whoever says that is no stranger."""


async def explained(problem: Problem, kind: str, reached: Sequence[tuple[str, int]]) -> Problem:
    """`problem`; or, if it is that a store of `kind` cannot be reached and somebody else answers where it should, just that.

    `reached`: the hosts that took a connection a moment ago, and no others: names are looked up again here, which a dead resolver
    would hold up. Takes half a second at most. For failures to open a session: a store that was there just now is not asked.
    """
    if problem.reason is not Reason.STORE_UNREACHABLE:
        return problem
    found = await asyncio.gather(*(_tongue(host, port) for host, port in reached))
    for (host, port), tongue in zip(reached, found, strict=True):
        if tongue not in {None, _TONGUES[kind]}:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            detail = f"{where}: whoever answers there is no {kind} server: it speaks {tongue}"
            return replace(problem, reason=Reason.WRONG_PROTOCOL, detail=detail)
    return problem


async def _tongue(host: str, port: int) -> str | None:
    """What is spoken there; None if nothing that we know."""
    said = await asyncio.gather(*(_answer(host, port, greeting) for greeting in _GREETINGS))
    for text in said:
        if text.startswith(b"Zookeeper version") or b"srvr is not executed" in text or b"ZooKeeper instance is not" in text:
            return "ZooKeeper"
        if text.startswith(b"HTTP/"):
            return "HTTP"
        if text.startswith(b"SSH-"):
            return "SSH"
    return None


async def _answer(host: str, port: int, greeting: bytes) -> bytes:
    """The beginning of what is answered to a greeting."""
    said, writer = b"", None
    try:
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(greeting)
            while len(said) < _ENOUGH and (more := await reader.read(_ENOUGH)):
                said += more
    except (OSError, UnicodeError):
        pass  # whatever came so far is what they said; a name that cannot be looked up says nothing
    finally:
        if writer is not None:
            writer.transport.abort()
    return said
