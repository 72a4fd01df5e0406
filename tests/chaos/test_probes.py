"""The probes of faults: what has to be seen of one before a run counts, and what has to be gone once it is healed."""

from __future__ import annotations

import math
import os
import re
import socket
from types import SimpleNamespace

import pytest

from chaos.bed import Bed
from chaos.engine import Engine
from chaos.faults import NotBiting, NotHealed, kill, operator
from chaos.faults.base import Injection, probed
from chaos.faults.claim import CLAIMS
from chaos.faults.flap import Flap
from chaos.faults.loss import Loss, rate_bounds
from chaos.faults.operator import Overwrite
from chaos.history import Recorder, lines
from chaos.operator import operator_for
from chaos.workload import life
from testbed import ConsulCluster
from testbed.http import HttpError
from tests.chaos.test_faults import Pods


def test_flapping_that_does_not_end_is_seen(sleeper, tmp_path):
    injection = Flap("leader", stop_ms=30, run_ms=10).inject(Pods(sleeper, tmp_path))
    injection.bites()
    injection.heal()
    assert injection.gone() == "1 processes go on"
    sleeper.freeze()
    with pytest.raises(NotHealed, match="still stand still"):
        injection.gone()


def test_a_daemon_that_is_not_back_is_seen(sleeper):
    pod = SimpleNamespace(name="c1", daemon=sleeper)
    assert kill.alive([pod]) == "1 daemons run"
    sleeper.kill()
    with pytest.raises(NotHealed, match="c1 does not run"):
        kill.alive([pod])


def test_a_lasting_fault_is_seen(monkeypatch):
    still = probed(lambda: False, 0.05, "it is over", "it is as it was")
    with pytest.raises(NotHealed, match="it is as it was"):
        still()
    assert probed(lambda: True, 0.05, "it is over", "it is as it was")() == "it is over"


def injection(name: str, told: list[str], gone: bool = True) -> Injection:
    """A fault that tells what is done with it."""

    def over() -> str:
        told.append(f"{name} looked for")
        if not gone:
            raise NotHealed(f"{name} is still there")
        return "gone"

    return Injection(name, (), lambda: "there", lambda: told.append(f"{name} healed"), over)


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path)
    yield made
    made.close()


def engine_with(recorder: Recorder, *faults: Injection) -> Engine:
    """As much of one as heals."""
    made = object.__new__(Engine)
    made._in_force, made._unseen = {fault.text: fault for fault in faults}, {}
    made._recorder, made._say = recorder, lambda text: None
    return made


def test_a_fault_is_looked_for_when_no_other_one_stands_in_the_way(recorder, tmp_path):
    told: list[str] = []
    made = engine_with(recorder, injection("a", told), injection("b", told))
    made._heal("a")
    assert told == ["a healed"]
    made._heal("b")
    assert told == ["a healed", "b healed", "a looked for", "b looked for"]
    assert [line["name"] for line in lines(tmp_path) if line["kind"] == "gone"] == ["a", "b"]
    heals = [line for line in lines(tmp_path) if line["kind"] == "heal"]
    assert all(line["from_ns"] <= line["at_ns"] for line in heals)


def test_a_fault_that_does_not_go_ends_the_run(recorder, tmp_path):
    with pytest.raises(NotHealed, match="still there"):
        engine_with(recorder, injection("a", [], gone=False))._heal("")
    assert not [line for line in lines(tmp_path) if line["kind"] == "gone"]


# ---- loss: the rate, not only that something is lost


class Lossy:
    """A network that loses so many of the datagrams to each host."""

    def __init__(self, lost: dict[str, int]) -> None:
        self._lost = lost
        self.links = self
        self.store_hosts, self.pods = ["s1", "s2"], [SimpleNamespace(host="c1")]

    def who(self, role: str) -> list[str]:
        return list(self._lost)

    def lose(self, host: str, percent: int) -> int:
        return 1

    def ping_loss(self, source: str, target: str, count: int) -> tuple[int, int]:
        return self._lost[target], count


@pytest.mark.parametrize("lost", [22, 50, 78])
def test_loss_at_the_rate_that_was_asked_for(lost):
    assert f"{lost} of 1000 datagrams to c1 lost" in Loss("leader", 5).inject(Lossy({"c1": lost})).bites()


@pytest.mark.parametrize("lost", [{"c1": 0}, {"c1": 10}, {"c1": 100}, {"c1": 50, "c2": 0}])
def test_another_rate_or_none_at_one_of_them_shows_nothing(lost):
    with pytest.raises(NotBiting, match="5 % would be 22 to 78"):
        Loss("leader", 5).inject(Lossy(lost)).bites()


def test_loss_that_goes_on_is_seen():
    assert "arrives" in Loss("leader", 5).inject(Lossy({"c1": 0})).gone()
    with pytest.raises(NotHealed, match="still lost"):
        Loss("leader", 5).inject(Lossy({"c1": 0, "c2": 1})).gone()


def test_a_rate_is_told_from_none_and_from_its_double():
    """By the binomial distribution itself: the chance to be wrong."""

    def chance(share, least, most, sent=1000):
        return sum(math.comb(sent, n) * share**n * (1 - share) ** (sent - n) for n in range(least, most + 1))

    least, most = rate_bounds(1000, 0.05)
    assert 1 - chance(0.05, least, most) < 2e-4
    assert chance(0.10, least, most) < 0.02
    assert chance(0.0, least, most) == 0.0


# ---- roles


def test_the_leader_of_the_store_is_in_the_majority():
    for nodes, leader, minority in ((3, 0, ["s2"]), (3, 1, ["s1"]), (5, 0, ["s2", "s3"]), (5, 4, ["s1", "s2"])):
        cluster = SimpleNamespace(nodes=nodes, leader_index=lambda leader=leader: leader)
        bed = Bed("etcd", cluster, None, None, 3.0, None)
        assert bed.who("minority") == minority
        assert sorted([*minority, *bed.who("majority")]) == bed.store_hosts
        assert bed.store_hosts[leader] in bed.who("majority")


# ---- what was written over an entry


class Hand:
    """An operator at an entry that does, or does not, change."""

    def __init__(self, robs: bool = True, after: str = "b") -> None:
        self.overwriting_robs, self.now, self._after, self.there = robs, "a", after, True

    def entry(self) -> str:
        return self.now

    def overwrite(self) -> None:
        self.now = self._after

    def foreign(self) -> bool:
        return self.there

    def delete(self) -> None:
        self.there = False


def test_an_entry_that_was_overwritten_is_looked_at():
    bed = SimpleNamespace(who=lambda role: ["c1"], operator=Hand())
    injection = Overwrite().inject(bed)
    assert injection.bites() == "a before, b now"
    assert injection.breaks_promises
    injection.heal()
    assert injection.gone() == "nothing foreign stands first"


def test_an_entry_that_is_as_it_was_shows_nothing(monkeypatch):
    monkeypatch.setattr(operator, "_PATIENCE_S", 0.05)
    bed = SimpleNamespace(who=lambda role: ["c1"], operator=Hand(after="a"))
    with pytest.raises(NotBiting, match="as it was"):
        Overwrite().inject(bed).bites()


def test_where_the_owner_stays_nothing_is_taken():
    assert not Overwrite().inject(SimpleNamespace(who=lambda role: ["c1"], operator=Hand(robs=False))).breaks_promises


class NothingThere(ConsulCluster):
    """It answers every question so."""

    status = 404

    def __init__(self) -> None:
        pass

    def api(self, *args: object, **options: object) -> None:
        raise HttpError("http://s1/v1/kv/chaos/jobs", self.status, "")


def test_litter_that_is_swept_away_may_have_been_all_there_was():
    hand = operator_for(NothingThere(), "chaos", "jobs")
    assert hand.litter_size("first") is None
    with pytest.raises(LookupError, match="zookeeper"):
        hand.litter("place", b"x")


def test_a_store_that_fails_is_not_taken_for_an_empty_one(monkeypatch):
    monkeypatch.setattr(NothingThere, "status", 500)
    with pytest.raises(HttpError):
        operator_for(NothingThere(), "chaos", "jobs").litter_size("first")


# ---- the requests by which a place is claimed


@pytest.mark.parametrize(
    ("store", "request_", "hit"),
    [
        ("zookeeper", b"\0\0\0\x60\0\0\0\5\0\0\0\x0f\0\0\0\x39/chaos/jobs/_c_11111111-2222-lock-\0\0\0\2c1", True),
        ("zookeeper", b"\0\0\0\x60\0\0\0\5\0\0\0\x0f\0\0\0\x0b/chaos/jobs\0\0\0\0", False),  # the directory
        ("zookeeper", b"\0\0\0\x60\0\0\0\5\0\0\0\x04\0\0\0\x39/chaos/jobs/_c_1-lock-0000000001", False),  # a look
        ("etcd", b"\x40\x05:path\x17/etcdserverpb.KV/Txn", True),
        ("etcd", b"\x40\x05:path\x17/etcdserverpb.KV/Range", False),
        ("consul", b"PUT /v1/txn?dc=dc1 HTTP/1.1\r\n", True),
        ("consul", b"PUT /v1/session/create HTTP/1.1\r\n", False),
    ],
)
def test_a_claim_is_told_from_other_requests(store, request_, hit):
    assert (re.search(CLAIMS[store].encode("latin-1"), request_, re.DOTALL) is not None) is hit


# ---- lives


def test_a_life_is_of_one_process(sleeper, tmp_path):
    first = life.of(sleeper.pid)
    assert life.of(sleeper.pid) == first
    assert life.of("self") == life.of(os.getpid()) != first
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        client.connect(str(tmp_path / "s"))
        assert life.behind(client) == life.of(os.getpid())
