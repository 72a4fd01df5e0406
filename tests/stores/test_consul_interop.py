"""One election, two kinds of candidates: ours and the real `consul lock`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leaderd.election.events import QueueSeen
from testbed import fetch
from tests.stores.consul_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]
HOLD = 'echo "$(date +%s%N) in" >>"$0"; sleep 0.15; echo "$(date +%s%N) out" >>"$0"'


@asynccontextmanager
async def _consul_lock(place: Place, *child: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = fetch.installed("consul").programs["consul"]
    process = await asyncio.create_subprocess_exec(
        program,
        "lock",
        f"-http-addr=http://{place.cluster.endpoints[0]}",
        "-shell=false",
        f"{place.path}/e",
        *child,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _wall_ns() -> int:
    return time.time_ns()  # the clock that `date` reads


async def test_zero_overlaps_with_consul_lock(place: Place, tmp_path: Path) -> None:
    """Both hold in turn, many times; both ways of waiting are met, and `consul lock` deletes the key in between."""
    log, holds, theirs = tmp_path / "log", [], 0
    log.touch()
    one = await place.candidate(ttl_s=10.0)
    one.keep_renewing()

    async def peer() -> None:
        nonlocal theirs
        for _ in range(8):
            async with _consul_lock(place, "sh", "-c", HOLD, str(log)) as process:
                _, said = await process.communicate()
            assert process.returncode == 0, said.decode()
            theirs += 1

    running = asyncio.create_task(peer())
    tokens = []
    async with asyncio.timeout(50.0):
        while not running.done() or len(holds) < 8:
            claimed = await one.lead(within_s=20.0)
            start = _wall_ns()
            await place.pause(0.1)
            end = _wall_ns()
            holds.append((start, end))
            tokens.append(claimed.token)
            await one.withdraw("e", claimed.token)
            await place.pause(0.05)
        await running
    stamps = [int(line.split()[0]) for line in log.read_text().splitlines()]
    peers = list(zip(stamps[::2], stamps[1::2], strict=True))
    assert len(peers) == theirs == 8
    overlaps = [(ours, other) for ours in holds for other in peers if ours[0] < other[1] and other[0] < ours[1]]
    assert not overlaps
    assert tokens == sorted(set(tokens))


async def test_a_waiting_consul_lock_gets_what_we_release(place: Place) -> None:
    one = await place.candidate(ttl_s=10.0)
    claimed = await one.lead()
    async with _consul_lock(place, "true") as process:
        await place.until_operator(lambda: _waiting(place), 5.0, "the session of consul lock")
        assert process.returncode is None
        await one.withdraw("e", claimed.token)
        async with asyncio.timeout(5.0):
            _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _waiting(place: Place) -> bool:
    return any(session["Name"].startswith("Consul lock") for session in await place.api("GET", "/v1/session/list"))


async def test_a_consul_lock_is_shown_waited_for_and_followed(place: Place) -> None:
    async with _consul_lock(place, "sleep", "30") as process:
        await place.until_operator(lambda: _held(place), 5.0, "the lock of consul lock")
        one = await place.candidate(ttl_s=10.0)
        await one.stand()
        seen = await one.expect(QueueSeen, led=True)
        assert [contender.own for contender in seen.contenders] == [False, True]
        process.terminate()
        async with asyncio.timeout(5.0):
            await process.communicate()
        await one.win(within_s=3.0)


async def _held(place: Place) -> bool:
    found = await place.key()
    return found is not None and bool(found.get("Session"))
