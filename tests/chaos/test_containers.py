"""What goes wrong with an engine, whose words are made up: containers that end too early."""

import os
import signal
from types import SimpleNamespace

import pytest

from chaos.containers import agent, override
from chaos.containers.cluster import ComposeCluster
from chaos.containers.process import Contained, Launched
from chaos.faults.flap import _each_still
from chaos.substrates.docker import DockerLinks
from testbed import checkout
from testbed.process import StartError

docker = pytest.importorskip("docker")
requests = pytest.importorskip("requests")
ROOT = checkout.root()


def refuse(status):
    answer = requests.Response()
    answer.status_code = status
    raise docker.errors.APIError("refused", response=answer)


class Made:
    """A container. `refuses`: what it is asked is refused so."""

    def __init__(self, *, running=True, refuses=None, said=""):
        self.attrs = {"State": {"Running": running, "Paused": False, "Pid": os.getpid(), "StartedAt": "2026", "ExitCode": 1}}
        self.refuses, self.said, self.asked = refuses, said, []

    def start(self):
        pass

    def _asked(self, *what):
        self.asked += what
        if self.refuses is not None:
            refuse(self.refuses)

    def kill(self, number="SIGKILL"):
        self._asked(number)
        self.attrs["State"]["Running"] = False

    def pause(self):
        self._asked("pause")

    def unpause(self):
        self._asked("unpause")

    def logs(self, **how):
        return self.said.encode()


def contained(container, **more):
    return Contained(SimpleNamespace(container=lambda service: container), "etcd-0", **more)


@pytest.mark.parametrize("status", [404, 409])
def test_a_container_that_has_just_ended_is_as_a_process_that_has(status):
    process = contained(Made(refuses=status))
    with pytest.raises(ProcessLookupError, match="etcd-0 does not run"):
        process.send(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="etcd-0 is not running"):
        process.freeze()
    assert not process.frozen
    assert _each_still([process]) == [], "who flaps it goes on"


def test_who_is_to_be_ended_and_has_ended_is_ended():
    container = Made(refuses=409)
    container.attrs["State"]["Paused"] = True
    process = contained(container)
    process.thaw()
    container.kill = lambda: container.attrs["State"].update(Running=False) or refuse(409)
    process.kill()


def test_what_else_the_engine_refuses_is_told():
    with pytest.raises(docker.errors.APIError):
        contained(Made(refuses=500)).send(signal.SIGTERM)


def test_a_containers_process_is_signalled_by_the_engine_alone(monkeypatch):
    """Its number is that of somebody else here."""
    monkeypatch.setattr(os, "killpg", lambda *what: pytest.fail(f"signalled: {what}"))
    container = Made()
    contained(container).signal_stop()
    assert container.asked == ["SIGTERM"]


def test_what_a_container_printed_is_told_when_it_ends_at_start(tmp_path):
    removed = []
    nodes = [contained(Made(running=False, said="etcd: bad flag\n")) for _ in range(3)]
    there = SimpleNamespace(layout=override.layout(ROOT, "etcd"), create=lambda: None, remove=lambda: removed.append(True))
    with pytest.raises(StartError, match=r"has ended: \netcd: bad flag"):
        ComposeCluster("etcd", there, nodes).start()
    assert removed
    log = tmp_path / "daemon.log"
    log.write_text("from the file\n")
    (tmp_path / "orders").mkdir()
    silent = SimpleNamespace(folder=tmp_path, container=lambda service: Made())
    assert Launched(silent, "leaderd-a", ["leaderd"], {}, log).log_tail() == "from the file"


def test_who_ends_before_its_network_is_joined_is_told_by_its_own_words():
    ended = Made(running=False, said="etcd: bad flag\n")
    with pytest.raises(StartError, match="etcd-0 has ended: etcd: bad flag"):
        contained(ended, joined=lambda: refuse(409)).start()
    lives = Made(running=False)
    lives.start = lambda: lives.attrs["State"].update(Running=True)
    with pytest.raises(docker.errors.APIError):
        contained(lives, joined=lambda: refuse(500)).start()


def test_an_agent_knows_what_it_has_set_when_it_fails_midway(monkeypatch):
    set_now = set()

    def neighbour(what, address):
        if address == "bad":
            raise OSError("no")
        (set_now.add if what == agent._NEW else set_now.discard)(address)

    monkeypatch.setattr(agent, "_neighbour", neighbour)
    monkeypatch.setattr(agent, "_deaf", set())
    with pytest.raises(OSError, match="no"):
        agent.deaf(["a", "bad"])
    assert set_now == {"a"}
    agent._deaf.discard("bad")
    agent.deaf([])
    assert not set_now


class Network:
    """A project of which only the addresses and who is deaf to whom are there."""

    def __init__(self):
        self.addresses, self.deaf = {}, {}

    def join(self, host):
        pass

    def address(self, host):
        return self.addresses[host]

    def ask(self, host, what, addresses):
        self.deaf[host] = addresses


def test_a_cut_follows_addresses_that_are_swapped():
    links, network = DockerLinks("etcd"), Network()
    links._made = network

    def joins(host, address):
        network.addresses[host] = address
        links._join(host)

    for host, address in (("c1", "10.0.0.1"), ("s1", "10.0.0.2"), ("s2", "10.0.0.3")):
        joins(host, address)
    links.block(["c1"], ["s1"])
    assert network.deaf["c1"] == ["10.0.0.2"]
    joins("s2", "10.0.0.2")
    assert network.deaf["c1"] == [], "whoever is cut off is not there yet"
    joins("s1", "10.0.0.3")
    assert network.deaf["c1"] == ["10.0.0.3"]
