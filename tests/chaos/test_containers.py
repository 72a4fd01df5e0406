"""What goes wrong with an engine, whose words are made up: containers that end too early or do not go, a Compose that hangs."""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos import cli, engine, leftovers, running, runs, scenario
from chaos.containers import agent, override, project
from chaos.containers.cluster import ComposeCluster
from chaos.containers.process import Contained, Launched
from chaos.faults.flap import _each_still
from chaos.runs import Children, Job, LeftBroken
from chaos.substrates import CannotInject
from chaos.substrates.docker import DockerLinks
from chaos.substrates.menu import MENU, Substrate
from testbed import checkout
from testbed.process import StartError, WaitTimeout, wait_until

docker = pytest.importorskip("docker")
requests = pytest.importorskip("requests")
ROOT = checkout.root()


def refuse(status):
    answer = requests.Response()
    answer.status_code = status
    raise docker.errors.APIError("refused", response=answer)


class Made:
    """A container, network or volume. It goes at the `after`-th time of asking; `refuses`: what it is asked is refused so."""

    def __init__(self, *, after=1, running=True, refuses=None, said=""):
        self.attrs = {"State": {"Running": running, "Paused": False, "Pid": os.getpid(), "StartedAt": "2026", "ExitCode": 1}}
        self.left, self.refuses, self.said, self.asked = after, refuses, said, []

    def remove(self, **how):
        self.left -= 1
        if self.left > 0:
            refuse(409)

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


class Docker:
    """An engine that has these; `late` turns up when all others are gone and were looked for once."""

    def __init__(self, containers=(), networks=(), late=()):
        self.there, self.late = list(containers), list(late)
        self.containers = SimpleNamespace(list=self._containers)
        self.networks = SimpleNamespace(list=lambda **how: [each for each in networks if each.left > 0])
        self.volumes = SimpleNamespace(list=lambda **how: [])

    def _containers(self, **how):
        found = [each for each in self.there if each.left > 0]
        if not found:
            self.there, self.late = self.late, []
        return found

    def info(self):
        return {}

    def close(self):
        pass


@pytest.fixture
def temporary(monkeypatch):
    """The place for temporary files, by a short name: sockets go there."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def composes(tmp_path, monkeypatch):
    """Puts a `docker-compose` of that text in the place of all others."""

    def put(text, name="docker-compose"):
        there = tmp_path / "bin"
        there.mkdir(exist_ok=True)
        (there / name).write_text(f"#!/bin/sh\n[ $1 = version ] && echo 2.26.1 && exit\n{text}\n")
        (there / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(there))

    return put


def made(folder, monkeypatch, known):
    monkeypatch.setattr(project, "client", lambda: known)
    return project.Project(override.layout(ROOT, "etcd"), "etcd", folder, folder)


def test_what_is_in_use_for_a_while_is_removed_all_the_same():
    known = Docker([Made(after=4)], [Made(after=6)])
    project.remove(known, "leaderd-chaos-x")
    assert not known.containers.list()
    assert not known.networks.list()


def test_what_comes_late_is_removed_too():
    late = Made()
    project.remove(Docker([Made()], late=[late]), "leaderd-chaos-x")
    assert late.left == 0


def test_what_does_not_go_stays_until_clean(tmp_path, monkeypatch, temporary, composes, capsys):
    """Its folder is what it is found by."""
    composes("echo no such image; exit 1")
    monkeypatch.setattr(project, "_REMOVED_S", 0.1)
    held = Made(after=10**6)
    known = Docker([held])
    monkeypatch.setattr(project, "client", lambda: known)
    said = []
    run = engine.Engine(scenario.load("partition-leader"), "etcd", DockerLinks("etcd"), tmp_path, said.append)
    with pytest.raises(CannotInject, match="remove it by hand"):
        run.run()
    (folder,) = temporary.glob(f"{leftovers.SOCKETS_PREFIX}*")
    assert any("`leaderd-chaos clean` removes them" in line for line in said)
    held.left = 1
    monkeypatch.setattr(project, "_REMOVED_S", 20.0)
    assert cli.main(["clean", "--out", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"removed {folder}\n"
    assert held.left == 0
    assert not folder.exists()


def test_a_project_that_cannot_be_made_leaves_no_folder(tmp_path, monkeypatch, temporary, composes):
    composes("echo no such image; exit 1")
    monkeypatch.setattr(project, "client", Docker)
    with pytest.raises(CannotInject, match="no such image"):
        engine.Engine(scenario.load("partition-leader"), "etcd", DockerLinks("etcd"), tmp_path, print).run()
    assert not list(temporary.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(CannotInject, match="no engine answers"):
        engine.Engine(scenario.load("partition-leader"), "etcd", DockerLinks("etcd"), tmp_path, print)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(("given", "asked"), [("", "unix:///var/run/docker.sock"), ("unix:///else.sock", "unix:///else.sock")])
def test_compose_asks_the_same_engine_and_may_be_old(tmp_path, monkeypatch, composes, given, asked):
    composes('echo "$DOCKER_HOST $COMPOSE_PROGRESS $*" > "$0.told"')
    monkeypatch.setenv("DOCKER_HOST", given)
    made(tmp_path, monkeypatch, Docker()).create()
    told = (tmp_path / "bin" / "docker-compose.told").read_text()
    assert told.startswith(f"{asked} plain -p {tmp_path.name} -f ")
    assert "--progress" not in told, "older ones refuse it"


def test_an_empty_docker_host_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "")
    monkeypatch.setattr(project, "_ENGINE", f"unix://{tmp_path}/docker.sock")
    assert project.no_engine() == f"no engine answers at unix://{tmp_path}/docker.sock (No such file or directory)"


@pytest.mark.parametrize(("ends", "raised"), [(WaitTimeout("too long"), CannotInject), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_with_compose_ends_what_it_has_started(tmp_path, monkeypatch, composes, ends, raised):
    composes(f'{shutil.which("sleep")} 300 & echo $! > "$0.new"; {shutil.which("mv")} "$0.new" "$0.pid"; wait')
    told = tmp_path / "bin" / "docker-compose.pid"

    def wait(*what, **how):
        wait_until(told.exists, 20.0, "the plugin is there")
        raise ends

    monkeypatch.setattr(project, "wait_until", wait)
    with pytest.raises(raised):
        made(tmp_path, monkeypatch, Docker()).create()
    plugin = Path(f"/proc/{told.read_text().strip()}/stat")

    def ended():
        try:
            return plugin.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_until(ended, 10.0, "it has ended")


def test_a_compose_that_hangs_is_not_the_last_word(monkeypatch, composes):
    composes("exit 1")
    composes("exit 1", "docker")
    docker_command = Path(os.environ["PATH"]) / "docker"
    docker_command.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import signal; signal.pause()'\n")
    monkeypatch.setattr(project, "_VERSION_S", 3.0)
    assert project.compose() == ["docker-compose"]


def test_clean_goes_on_after_what_it_cannot_remove(tmp_path, monkeypatch, temporary, capsys):
    for name in ("a", "b"):
        folder = temporary / f"{leftovers.SOCKETS_PREFIX}{name}"
        folder.mkdir()
        leftovers.hold(folder).close()
    stays = temporary / f"{leftovers.SOCKETS_PREFIX}a"
    (stays / project.MARK).write_text("{}")
    monkeypatch.setitem(sys.modules, "docker", None)
    assert cli.main(["clean", "--out", str(tmp_path)]) == cli.EXIT_HARNESS
    told = capsys.readouterr()
    assert told.out == f"removed {temporary / leftovers.SOCKETS_PREFIX}b\n"
    assert told.err == f"leaderd-chaos: {stays} stays: {project.NO_SDK}\n"
    assert [each.name for each in temporary.iterdir()] == [stays.name]


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


_ENDS = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: {})
print("up", flush=True)
while True: signal.pause()
"""
_STUBBORN = _ENDS.format("None")


@pytest.mark.parametrize(
    ("substrate", "program", "left"),
    [
        ("docker", _STUBBORN, True),
        ("docker", _ENDS.format(f"sys.exit({cli.EXIT_HARNESS})"), True),
        ("docker", _ENDS.format(f"sys.exit({runs.INTERRUPTED})"), False),
        ("netns", _STUBBORN, False),
    ],
    ids=["killed", "not removed", "removed", "the kernel's"],
)
def test_containers_that_may_be_left_are_told_of(tmp_path, monkeypatch, substrate, program, left):
    monkeypatch.setitem(MENU, substrate, Substrate("", lambda: None, enter=lambda command: [sys.executable, "-c", program]))
    for name in ("_HEALING_S", "_REMOVING_S"):
        monkeypatch.setattr(runs, name, 1.0 if program is _STUBBORN else 20.0)
    (tmp_path / runs.JOB).write_text(json.dumps(asdict(Job("partition-leader", "etcd", substrate=substrate))))
    children, up = Children(), threading.Event()
    thread = threading.Thread(target=children.run, args=(tmp_path, lambda line: up.set()))
    thread.start()
    assert up.wait(20.0)
    if left:
        with pytest.raises(LeftBroken, match="`leaderd-chaos clean` removes them"):
            children.interrupt()
    else:
        children.interrupt()
    thread.join(20.0)
    assert not thread.is_alive()


def test_what_is_left_is_said_and_not_that_all_is_healed(monkeypatch, capsys):
    def broken(options):
        raise LeftBroken("containers may be left")

    monkeypatch.setattr(running, "command", broken)
    assert cli.main(["run", "partition-leader"]) == cli.EXIT_HARNESS
    assert capsys.readouterr().err == "leaderd-chaos: containers may be left\n"
