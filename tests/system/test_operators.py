"""The operators' commands against real daemons: what each one does to the fleet, and that nobody ever leads beside another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.conftest import Fleet, leader_of
from tests.system.daemons import DaemonProcess, wait_until


def ask(daemon: DaemonProcess, verb: str, *more: str, code: int = 0) -> Any:
    """Run a command against a daemon; its answer as JSON."""
    command = [sys.executable, "-m", "leaderd", verb, "jobs", *more, "-o", "json", "--socket", str(daemon.socket)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_every_command_does_what_it_says(fleet: Fleet, tmp_path: Path) -> None:
    daemons, watcher = fleet(f"local://{tmp_path}/store", ttl="2s")
    first = leader_of(daemons, watcher)
    last = wait_until(lambda: in_line(first), 10.0, "three candidates")[-1]
    target = next(daemon for daemon in daemons if daemon.name == last)

    assert "does not lead" in ask(target, "resign", code=1)
    assert "token" in ask(first, "resign", "--if-token", "999", code=1)
    assert "does not stand" in ask(first, "transfer", "--to", "nobody", code=1)

    handed = ask(first, "transfer", "--to", last)
    assert handed["confirmed"]
    assert target.leads()

    paused = ask(first, "pause", "--reason", "upgrade")
    assert paused["pause"]["reason"] == "upgrade"
    wait_until(lambda: not any(daemon.leads() for daemon in daemons), 10.0, "nobody leads")
    shown = [daemon.get("/v1/elections/jobs")[1]["pause"]["reason"] for daemon in daemons]
    assert shown == ["upgrade"] * 3
    assert ask(target, "resume")["was"]["reason"] == "upgrade"

    leader = wait_until(lambda: next((daemon for daemon in daemons if daemon.leads()), None), 10.0, "somebody leads again")
    assert ask(leader, "cordon")["changed"]
    wait_until(lambda: any(daemon.leads() for daemon in daemons if daemon is not leader), 10.0, "another leads")
    assert ask(leader, "uncordon")["changed"]
    assert "out of the election" in ask(leader, "why")["summary"]

    def ended() -> set[str]:
        return {term["reason"] for term in ask(first, "history")["terms"]}

    wait_until(lambda: ended() >= {"paused", "cordoned"}, 10.0, "the store has the history")
    tokens = [term["token"] for term in ask(first, "history")["terms"]]
    assert tokens == sorted(tokens, reverse=True)
    watcher.check()


def in_line(daemon: DaemonProcess) -> list[str]:
    """Everybody who stands, once all three do."""
    names = [each["instance"] for each in daemon.get("/v1/elections/jobs")[1]["candidates"]]
    return names if len(names) == 3 else []
