"""Orders of an operator, to two real daemons: what is done is shown, what is refused fails the run, and all is taken back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chaos.faults import NotBiting, orders
from chaos.faults.orders import Cordon, Pause, Resign, Transfer
from tests.system.daemons import DaemonProcess, wait_until

PATIENCE_S = 20.0
pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("orders")]


class Two:
    """Two daemons on the local store, as a run's pods; what is noted is kept."""

    def __init__(self, root):
        self.daemons = [DaemonProcess(name, f"local://{root}/store", root, ttl="2s").start() for name in ("c1", "c2")]
        plan = SimpleNamespace(election="jobs")
        alive = SimpleNamespace(running=True)
        self.pods = [
            SimpleNamespace(name=each.name, host=each.name, socket=each.socket, plan=plan, daemon=alive) for each in self.daemons
        ]
        self.recorder = self
        self.missed: list[str] = []

    def note(self, kind, **facts):
        assert kind == "missed"
        self.missed.append(facts["text"])

    def leading(self) -> str | None:
        return next((each.name for each in self.daemons if each.leads()), None)

    def wait_leader(self) -> str:
        return wait_until(self.leading, PATIENCE_S, "somebody leads")

    def who(self, role: str) -> list[str]:
        if role in {each.name for each in self.daemons}:
            return [role]
        leader = self.wait_leader()
        return [leader] if role == "leader" else [each.name for each in self.daemons if each.name != leader]

    def pod(self, host: str):
        return next(pod for pod in self.pods if pod.name == host)


def state_of(daemon: DaemonProcess) -> str | None:
    """What it says of itself."""
    return daemon.get("/is-leader/jobs?promise=0")[1].get("state")


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    made = Two(tmp_path_factory.mktemp("orders"))
    yield made
    for daemon in made.daemons:
        daemon.end()


@pytest.fixture
def bed(daemons):
    daemons.missed.clear()
    daemons.wait_leader()
    wait_until(lambda: {state_of(each) for each in daemons.daemons} == {"leader", "follower"}, PATIENCE_S, "both stand")
    return daemons


def test_a_transfer_is_shown_by_the_one_who_leads_then(bed):
    old = bed.leading()
    injection = Transfer(promise_ms=300).inject(bed)
    assert injection.targets == (old,)
    assert "nobody led for" in injection.bites()
    assert bed.leading() not in {old, None}
    assert not bed.missed


def test_who_resigns_frees_the_place(bed):
    old = bed.leading()
    assert "free after" in Resign(cooldown_ms=1000).inject(bed).bites()
    assert bed.wait_leader() != old
    assert not bed.missed


def test_a_pause_is_told_by_all_and_ended_by_another(bed):
    injection = Pause().inject(bed)
    assert "2 daemons tell of it" in injection.bites()
    assert bed.leading() is None
    injection.heal()
    injection.heal()
    bed.wait_leader()
    assert not bed.missed


def test_a_cordon_is_taken_back(bed):
    old = bed.leading()
    injection = Cordon().inject(bed)
    assert "left" in injection.bites()
    assert bed.wait_leader() != old
    injection.heal()
    wait_until(lambda: bed.daemons[0].get("/is-leader/jobs")[1]["reason"] != "cordoned", PATIENCE_S, "it stands again")
    assert not bed.missed


def test_an_order_that_is_refused_fails_the_run(bed, monkeypatch):
    (follower,) = bed.who("followers")
    monkeypatch.setattr(bed, "who", lambda role: [follower])
    assert "does not lead" in Resign().inject(bed).bites()
    assert "does not lead" in bed.missed[0]


def test_an_order_that_cannot_be_taken_back_fails_the_run(bed, monkeypatch, tmp_path):
    injection = Cordon(at="c1").inject(bed)
    injection.bites()
    monkeypatch.setattr(orders, "_TOLD_S", 0.2)
    there = bed.pod("c1").socket
    monkeypatch.setattr(bed.pod("c1"), "socket", tmp_path / "nobody")
    injection.heal()
    assert "no daemon at" in bed.missed[0]
    monkeypatch.setattr(bed.pod("c1"), "socket", there)
    monkeypatch.setattr(orders, "_TOLD_S", PATIENCE_S)
    injection.heal()
    assert len(bed.missed) == 1


def test_nobody_to_promise_shows_nothing(bed, monkeypatch):
    (follower,) = bed.who("followers")
    monkeypatch.setattr(bed, "who", lambda role: [follower])
    with pytest.raises(NotBiting):
        Resign(promise_ms=1000).inject(bed)
