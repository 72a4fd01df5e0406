"""What can be shown of the faults without a cluster: mishaps of packets, the name server, roles, and what a bite is."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos import engine, judge, scenario
from chaos.containers.agent import connected
from chaos.faults import MENU as MENU_OF_FAULTS
from chaos.faults import NotBiting, exhaust, flap
from chaos.faults.exhaust import Exhaust
from chaos.faults.flap import Flap
from chaos.packets.kinds import Mishap, Way
from chaos.substrates import sim
from chaos.substrates.menu import MENU
from chaos.substrates.names import NameServer
from chaos.workload import clocks
from testbed.process import Process, wait_until

FRAMES = [bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(19) + bytes([number] * 20) for number in range(200)]
HEADERS = 34


def through(mishap: Mishap, frames=FRAMES) -> tuple[Way, list[tuple[float, bytes]]]:
    """All frames, a millisecond apart: when each is let through, and as what."""
    way = Way(mishap, random.Random(1))
    for number, frame in enumerate(frames):
        way.came(frame, number / 1000)
    left = []
    while (at_s := way.next_s()) is not None:
        left += [(at_s, each.frame) for each in way.due(at_s)]
    return way, left


def test_delayed_packets_stay_in_order():
    way, left = through(Mishap("delay", ms=100, jitter_ms=30))
    assert [frame for _, frame in left] == FRAMES
    assert all(0.07 <= at_s - frame[-1] / 1000 <= 0.14 for at_s, frame in left)
    assert way.acted == 200


def test_some_are_overtaken():
    way, left = through(Mishap("reorder", percent=25, ms=40))
    order = [frame for _, frame in left]
    assert sorted(order) == sorted(FRAMES)
    assert order != FRAMES
    assert 25 <= way.acted <= 75


def test_damage_is_one_bit_behind_the_headers():
    way, left = through(Mishap("corrupt", percent=10))
    changed = [(before, after) for before, (_, after) in zip(FRAMES, left, strict=True) if before != after]
    assert 5 <= len(changed) == way.acted <= 40
    for before, after in changed:
        assert before[:HEADERS] == after[:HEADERS]
        assert sum((a ^ b).bit_count() for a, b in zip(before, after, strict=True)) == 1


def test_doubled_packets():
    _, left = through(Mishap("duplicate"))
    assert [frame for _, frame in left] == [frame for frame in FRAMES for _ in range(2)]


def test_addresses_are_looked_up_as_ever():
    question = bytes(12) + b"\x08\x06" + bytes(28)
    way, left = through(Mishap("delay", ms=10_000), [question])
    assert left == [(0.0, question)]
    assert way.acted == 0


# ---- names


@pytest.fixture
def names():
    server = NameServer("127.0.0.1", {"s1": "192.0.2.11"}, port=0)
    yield server
    server.close()


def asked(server: NameServer, name: str, kind: int = 1, within_s: float = 2.0) -> tuple[int, str | None]:
    """The code of the answer and the address in it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(within_s)
        client.sendto(question, ("127.0.0.1", server.port))
        answer = client.recv(512)
    number, flags, _, answers = struct.unpack_from("!HHHH", answer)
    assert number == 4711
    assert flags & 0x8000
    return flags & 0xF, socket.inet_ntoa(answer[-4:]) if answers else None


def test_a_well_name_server(names):
    assert asked(names, "s1.chaos.test") == (0, "192.0.2.11")
    assert asked(names, "S1.Chaos.Test") == (0, "192.0.2.11")
    assert asked(names, "s1.chaos.test", kind=28) == (0, None), "there is no IPv6, and the name is known"
    assert asked(names, "s9.chaos.test") == (3, None)
    assert names.asked == 3


def test_a_broken_one(names):
    names.mood = "unknown"
    assert asked(names, "s1.chaos.test") == (3, None)
    names.mood = "wrong"
    assert asked(names, "s1.chaos.test") == (0, "192.0.2.250")
    names.mood = "silent"
    with pytest.raises(TimeoutError):
        asked(names, "s1.chaos.test", within_s=0.2)
    names.mood, names.slow_s = "slow", 0.05
    assert asked(names, "s1.chaos.test") == (0, "192.0.2.11")


# ---- processes


class Pods:
    """One pod, whose daemon is a process of ours."""

    def __init__(self, daemon: Process, folder: Path) -> None:
        self.daemon, self.socket, self.name, self.host = daemon, folder / "s", "c1", "c1"

    def who(self, role: str) -> list[str]:
        return ["c1"]

    def pod(self, host: str) -> Pods:
        return self


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_flapping_ends_with_a_process_that_runs(sleeper, tmp_path):
    injection = Flap("leader", stop_ms=30, run_ms=10).inject(Pods(sleeper, tmp_path))
    assert "twice" in injection.bites()
    injection.heal()
    injection.heal()
    assert state(sleeper.pid) in "SR"


def test_flapping_somebody_who_is_gone_shows_nothing(sleeper, tmp_path, monkeypatch):
    monkeypatch.setattr(flap, "_PATIENCE_S", 0.1)
    sleeper.kill()
    injection = Flap("leader", stop_ms=1, run_ms=1).inject(Pods(sleeper, tmp_path))
    try:
        with pytest.raises(NotBiting):
            injection.bites()
    finally:
        injection.heal()


def test_descriptors_that_nobody_takes_show_nothing(sleeper, tmp_path, monkeypatch):
    monkeypatch.setattr(exhaust, "_PATIENCE_S", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(64)
        injection = Exhaust("leader", spare=3).inject(Pods(sleeper, tmp_path))
        limits = Path(f"/proc/{sleeper.pid}/limits")
        lowered = limits.read_text()
        with pytest.raises(NotBiting, match="descriptors"):
            injection.bites()  # a sleeper accepts nobody
        injection.heal()
        assert limits.read_text() != lowered


def test_whom_a_process_is_connected_to():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        wait_until(lambda: "127.0.0.1" in connected(os.getpid()), 5.0, "the connection is in the kernel's table")


# ---- what a substrate cannot do


@pytest.mark.parametrize(
    "name", ["disk-full", "names-silent", "leader-from-its-node", "packets-delayed", "narrow-line", "store-bridge"]
)
def test_what_needs_the_network_itself_is_refused_elsewhere(name):
    found = scenario.load(name)
    assert "netns" in str(MENU["proxy"].lacks(found))
    assert "netns" in str(MENU["sim"].lacks(found))
    assert MENU["netns"].lacks(found) is None


def test_a_program_that_is_not_here_is_told_before_anything_starts(monkeypatch):
    monkeypatch.setattr("chaos.faults.strained.shutil", SimpleNamespace(which=lambda name: None))
    assert "strace" in str(MENU["netns"].lacks(scenario.load("disk-slow")))


# ---- clocks


def test_a_clock_goes_on_from_what_it_shows(tmp_path, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(clocks, "boot_s", lambda: now_s[0])
    ours, theirs = clocks.SkewFile(tmp_path / "clock"), clocks.SkewFile(tmp_path / "clock")
    assert theirs.get().shown(100.0) == 100.0
    ours.change(rate=0.5)
    now_s[0] = 110.0
    assert theirs.get().shown(110.0) == 105.0
    ours.change(rate=2.0)
    now_s[0] = 111.0
    assert theirs.get().shown(111.0) == 107.0, "no step where the rate changes"
    assert theirs.get().true(107.0) == 111.0


def test_a_mark_tells_that_a_change_was_seen(tmp_path):
    ours, theirs = clocks.SkewFile(tmp_path / "clock"), clocks.SkewFile(tmp_path / "clock")
    theirs.obeyed()
    ours.change(wall_s=600.0)
    assert not ours.seen
    assert theirs.obeyed().wall_s == 600.0
    assert ours.seen


OBEYS = """
import asyncio, sys, time
from pathlib import Path
from chaos.workload import clocks
from leaderd.clock import BootClock
skew = clocks.obey(Path(sys.argv[1]))
clock = BootClock(1.0)
skew.change(rate=4.0)
async def main():
    before, began_s = clock.now_s(), time.monotonic()
    await asyncio.sleep(1.0)
    print(time.monotonic() - began_s, clock.now_s() - before, clock.instant().jumps)
    skew.change(wall_s=600.0)
    print(clock.instant().jumps, clock.wall_s() - time.time())
asyncio.run(main())
"""


def test_a_daemon_obeys(tmp_path):
    command = [sys.executable, "-c", OBEYS, str(tmp_path / "clock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    took_s, showed_s, jumps, jumped, ahead_s = (float(word) for word in done.stdout.split())
    assert took_s < 0.8, "a second of its own is a quarter of ours"
    assert showed_s >= 1.0
    assert jumps == 0, "a clock that is fast has not jumped"
    assert jumped == 1
    assert ahead_s > 600.0


def test_somebody_who_leads_where_nobody_may_is_told(tmp_path):
    steps = "{step: hold, time: 1s, nobody: true}"
    path = tmp_path / "x.yaml"
    path.write_text(f"{{title: t, why: w, method: [{steps}]}}")
    found = scenario.load(str(path))
    sim.carry_out(found, "etcd", 0, tmp_path, engine.facts(found, "x", "etcd", "sim"), lambda line: None)
    checks = {check.name: check for check in judge.judge(judge.read(tmp_path), found)}
    assert checks["failover-within"].verdict == judge.FAIL
    assert "where nobody may" in checks["failover-within"].text


# ---- the menu, as it is told


def test_every_scenario_stands_in_the_menu():
    text = (Path(__file__).parents[2] / "docs" / "chaos-faults.md").read_text(encoding="utf-8")
    tables = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    named = {name for line in tables for name in re.findall(r"`([a-z0-9-]+)`", line.split(" | ")[1])}
    assert named == {name for name in scenario.names() if "/" not in name}, "regressions tell of themselves"


def test_every_fault_stands_in_a_scenario():
    used = {
        type(step.fault) for name in scenario.names() for step in scenario.load(name).method if isinstance(step, scenario.Inject)
    }
    assert used == set(MENU_OF_FAULTS)
