"""ZooKeeper's four-letter words: what a server says of itself, outside of any session."""

from __future__ import annotations

import asyncio
import re

from leaderd.doctor.common import tls_context
from leaderd.doctor.findings import BOUND_S, Patient


async def say(patient: Patient, host: tuple[str, int], word: bytes) -> bytes:
    """What a server answers; empty where it does not, or where the word is forbidden to it (`4lw.commands.whitelist`)."""
    writer, said = None, b""
    try:
        async with asyncio.timeout(BOUND_S):
            reader, writer = await asyncio.open_connection(*host, ssl=tls_context(patient))
            writer.write(word)
            while more := await reader.read(4096):
                said += more
    except (OSError, ValueError):
        pass  # what came so far is enough, or there is nothing to say
    finally:
        if writer is not None:
            writer.transport.abort()
    return b"" if b"is not executed because" in said else said


async def tick_s(patient: Patient) -> float | None:
    """The longest tick of those servers that tell it, by `conf`; None if none does."""
    told = await asyncio.gather(*(say(patient, host, b"conf") for host in patient.address.hosts))
    found = [int(match[1]) / 1000 for text in told if (match := re.search(rb"^tickTime=([0-9]{1,7})\r?$", text, re.MULTILINE))]
    return max(found, default=None)
