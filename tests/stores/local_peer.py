"""A candidate process for the tests of the local store: stands in `e`, and prints a line with the boot time for all it sees.

    python -m tests.stores.local_peer DIRECTORY NAME TTL_S

A line on standard input is a command: `resign` withdraws and closes, then the process ends.
"""

from __future__ import annotations

import asyncio
import sys

from leaderd.clock import BootClock
from leaderd.election.commands import Claim, CloseSession, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import Claimed, Elected, Event, SessionOpened
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.base import Identity
from leaderd.stores.local import LocalStore


async def main(directory: str, name: str, ttl_s: float) -> None:
    now_s = BootClock(3600.0).now_s
    store = LocalStore(parse_address(f"local://{directory}"), Identity(name, "x"), Timing(ttl_s=ttl_s), Credentials(), Tls(), now_s)

    def sink(event: Event) -> None:
        match event:
            case SessionOpened():
                store.submit(Stand(1, "e"))
            case Elected():
                store.submit(Claim(1, "e", event.token, event.mark))
            case Claimed():
                say(f"claimed {event.token}")
            case _:
                say(type(event).__name__)

    def say(what: str) -> None:
        sys.stdout.write(f"{now_s():.6f} {what}\n")
        sys.stdout.flush()

    await store.start(sink)
    store.submit(OpenSession(1, ttl_s))
    resigned = asyncio.Event()

    def read() -> None:
        if "resign" in sys.stdin.readline():
            resigned.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), read)
    while not resigned.is_set():
        try:
            async with asyncio.timeout(ttl_s / 5):
                await resigned.wait()
        except TimeoutError:
            store.submit(Renew(1, ()))
    say("resigning")
    store.submit(Withdraw(1, "e", None))
    store.submit(CloseSession(1))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
