"""The operators' commands against real daemons on every store: what each one does, and that nobody leads beside another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.system.beds import ALL, Bed, lay
from tests.system.conftest import Fleet, leader_of
from tests.system.daemons import DaemonProcess, Watcher, wait_until

PATIENCE_S = 30.0


@pytest.fixture
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """One node is enough: the orders are put in the store, and the store does the rest."""
    with ExitStack() as stack:
        yield lay(request.param, stack, tmp_path_factory.mktemp(request.param), nodes=1)


def ask(daemon: DaemonProcess, verb: str, *more: str, code: int = 0) -> Any:
    """Run a command against a daemon; its answer as JSON."""
    command = [sys.executable, "-m", "leaderd", verb, "jobs", *more, "-o", "json", "--socket", str(daemon.socket)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bed", ALL, indirect=True)
def test_every_command_does_what_it_says(bed: Bed, fleet: Fleet) -> None:
    daemons, watcher = fleet(bed.url, ttl=bed.ttl)
    leader = leader_of(daemons, watcher, PATIENCE_S)
    leader = transfer(daemons, watcher, leader, shows_queue=bed.kind != "consul")
    leader = pause_and_resume(daemons, watcher, leader)
    leader = resign(daemons, watcher, leader)
    leader = cordon_and_uncordon(daemons, watcher, leader)
    watcher.check()
    look_back(daemons, watcher)


def transfer(daemons: list[DaemonProcess], watcher: Watcher, leader: DaemonProcess, *, shows_queue: bool) -> DaemonProcess:
    """What is refused changes nothing; then the last in the queue leads, and the report of it is true."""
    others = [daemon for daemon in daemons if daemon is not leader]
    target = others[-1]
    if shows_queue:
        last = wait_until(lambda: in_line(leader), PATIENCE_S, "three candidates")[-1]
        target = next(daemon for daemon in others if daemon.name == last)
    for daemon in others:
        wait_until(lambda daemon=daemon: state_of(daemon) == "follower", PATIENCE_S, f"{daemon.name} follows")  # type: ignore[misc]
    assert "does not lead" in ask(target, "resign", code=1)
    assert "token" in ask(leader, "resign", "--if-token", "999", code=1)
    assert "does not stand" in ask(leader, "transfer", "--to", "nobody", "--timeout", "1s", code=1)
    before = watcher.tokens()

    handed = ask(leader, "transfer", "--to", target.name)
    assert handed["confirmed"]
    assert handed["token"] in before
    assert handed["new_token"] > before[-1]
    assert 0 <= handed["leaderless_ms"] < PATIENCE_S * 1000
    assert target.leads()
    wait_until(lambda: handed["new_token"] in watcher.tokens(), PATIENCE_S, "the watcher has seen the new term")
    assert next(claim.instance for claim in watcher.claims if claim.token == handed["new_token"]) == target.name
    return target


def pause_and_resume(daemons: list[DaemonProcess], watcher: Watcher, leader: DaemonProcess) -> DaemonProcess:
    """Asked of one, told by all; nobody leads until another is asked to end it."""
    paused = ask(leader, "pause", "--reason", "upgrade")
    assert paused["pause"]["reason"] == "upgrade"
    wait_until(lambda: not any(daemon.leads() for daemon in daemons), PATIENCE_S, "nobody leads")
    before = watcher.tokens()

    def shown() -> list[str | None]:
        return [(daemon.get("/v1/elections/jobs")[1]["pause"] or {}).get("reason") for daemon in daemons]

    wait_until(lambda: shown() == ["upgrade"] * 3, PATIENCE_S, "everybody tells why")
    # Who paused it and why, and how it came that this one leads no more.
    told = ask(leader, "why")["summary"]
    assert "an operator paused the election (by " in told
    assert ": upgrade)" in told
    assert f"this instance lost token {before[-1]} at " in told
    assert watcher.tokens() == before, "nobody has led meanwhile"
    assert ask(next(daemon for daemon in daemons if daemon is not leader), "resume")["was"]["reason"] == "upgrade"
    # A short pause may be over before the promises from before it are: who is promised something still is not who leads now.
    wait_until(lambda: watcher.tokens() != before, PATIENCE_S, "a term after the pause")
    return leader_of(daemons, watcher, PATIENCE_S)


def resign(daemons: list[DaemonProcess], watcher: Watcher, leader: DaemonProcess) -> DaemonProcess:
    """Another one leads, while who resigned does not stand."""
    done = ask(leader, "resign", "--cooldown", "3s")
    assert done["released"]
    assert not leader.leads()
    name = wait_until(lambda: (found := watcher.leader()) != leader.name and found, PATIENCE_S, "another leads")
    return next(daemon for daemon in daemons if daemon.name == name)


def cordon_and_uncordon(daemons: list[DaemonProcess], watcher: Watcher, leader: DaemonProcess) -> DaemonProcess:
    """Out of the election for as long as the operator wants."""
    assert ask(leader, "cordon")["changed"]
    assert not ask(leader, "cordon")["changed"]
    name = wait_until(lambda: (found := watcher.leader()) != leader.name and found, PATIENCE_S, "another leads")
    assert leader.get("/is-leader/jobs?promise=0")[1]["reason"] == "cordoned"
    assert "out of the election" in ask(leader, "why")["summary"]
    assert ask(leader, "uncordon")["changed"]
    wait_until(lambda: leader.get("/is-leader/jobs?promise=0")[1]["reason"] != "cordoned", PATIENCE_S, "it stands again")
    return next(daemon for daemon in daemons if daemon.name == name)


def look_back(daemons: list[DaemonProcess], watcher: Watcher) -> None:
    """Whoever is asked, the store has every term that was seen, newest first, and why it ended."""
    wanted = ["cordoned", "resigned", "paused", "resigned"]
    seen = {claim.token: claim.instance for claim in watcher.claims}

    def told(daemon: DaemonProcess) -> bool:
        terms = daemon.get("/v1/elections/jobs/history")[1]["terms"]
        reasons = iter([term["reason"] for term in terms])  # a busy machine may have cost a term in between
        whole = seen.items() <= {term["token"]: term["leader"] for term in terms}.items()
        return whole and all(reason in reasons for reason in wanted)

    for daemon in daemons:
        wait_until(lambda daemon=daemon: told(daemon), PATIENCE_S, f"{daemon.name} has the history")  # type: ignore[misc]
    last = ask(daemons[0], "history")["terms"]
    tokens = [term["token"] for term in last]
    assert tokens == sorted(tokens, reverse=True)
    tell_a_newcomer(daemons, last)


def tell_a_newcomer(daemons: list[DaemonProcess], last: list[dict[str, Any]]) -> None:
    """Who has just been started tells what it has not seen: how the last term ended."""
    ended = f"{last[1]['leader']} led with token {last[1]['token']} until "
    newcomer = next(daemon for daemon in daemons if daemon.name not in {last[0]["leader"], last[1]["leader"]})
    newcomer.send(signal.SIGTERM)
    assert newcomer.wait(PATIENCE_S) == 0
    newcomer.start()
    wait_until(lambda: state_of(newcomer) == "follower", PATIENCE_S, "the restarted one follows")
    told = wait_until(lambda: (found := ask(newcomer, "why"))["entries"] and found, PATIENCE_S, "it can tell")["summary"]
    assert told.startswith(f"{last[0]['leader']} ")
    assert f"; {ended}" in told
    assert told.endswith("an operator took it out of the election")


def in_line(daemon: DaemonProcess) -> list[str]:
    """Everybody who stands, once all three do."""
    names = [each["instance"] for each in daemon.get("/v1/elections/jobs")[1]["candidates"]]
    return names if len(names) == 3 else []


def state_of(daemon: DaemonProcess) -> str | None:
    """What it says of itself."""
    state: str | None = daemon.get("/is-leader/jobs?promise=0")[1].get("state")
    return state
