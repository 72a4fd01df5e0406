"""Containers, as far as no engine is needed: who is who in the compose files, what a run changes there, and what is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chaos import catalogue, cli, engine, leftovers, scenario
from chaos.containers import agent, override, project
from chaos.substrates import CannotInject, docker
from chaos.substrates.docker import DockerLinks
from chaos.substrates.netns import enter
from testbed import checkout
from testbed.process import WaitTimeout, wait_until

ROOT = checkout.root()
STORES = ("etcd", "zookeeper", "consul")


@pytest.mark.parametrize("store", STORES)
def test_who_is_who_in_a_compose_file(store):
    found = override.layout(ROOT, store)
    assert list(found.nodes) == ["s1", "s2", "s3"]
    assert all(name.startswith(f"{store}-") for name in found.nodes.values())
    assert found.daemons == {"c1": "leaderd-a", "c2": "leaderd-b", "c3": "leaderd-c"}
    assert found.apps == {"c1": "app-a", "c2": "app-b", "c3": "app-c"}
    assert {host: found.owner[host] for host in ("c1", "c3")} == {"c1": "leaderd-a", "c3": "app-c"}, "it shares its app's network"


@pytest.mark.parametrize("store", STORES)
def test_what_a_run_changes_in_it(store, tmp_path):
    found = override.layout(ROOT, store)
    services = override.override(found, store, tmp_path / "sockets", tmp_path / "run", "7:8")["services"]
    assert services.pop("resource") == {"image": "leaderd:chaos"}
    assert set(services) == {*found.nodes.values(), *found.daemons.values(), *found.apps.values()}
    assert all(each["restart"] == "no" for each in services.values()), "who is killed stays dead until it is healed"
    daemon = services["leaderd-b"]
    assert daemon["user"] == "7:8"
    assert daemon["command"] == [str(override.order(tmp_path / "sockets", "leaderd-b"))]
    mounted = {each["target"]: each["read_only"] for each in daemon["volumes"]}
    assert mounted == {str(tmp_path / "sockets"): False, str(tmp_path / "run"): False, str(ROOT / "chaos"): True}
    assert daemon["image"] == "leaderd:chaos", "and not the one that somebody may have deployed"
    assert not {"networks", "cap_add", "privileged"} & set(daemon), "deployed as the file says"
    node = services[found.nodes["s1"]]
    if store == "consul":
        assert node["command"][: len(found.commands["consul-0"])] == found.commands["consul-0"]
        assert "session_ttl_min" in " ".join(node["command"]), "else a ttl of 5 s is refused"


def test_the_container_of_a_pod_becomes_what_its_order_says(tmp_path):
    program = "import os,sys; print(sys.argv[1:], os.environ['COLOUR'], os.environ['PYTHONPATH'])"
    stat, log = tmp_path / "stat", tmp_path / "log"
    order = override.started_with([sys.executable, "-c", program, "a"], sys.executable, {"COLOUR": "red"}, log, stat)
    assert order["argv"][0] == "python3", "the container's own"
    path = tmp_path / "order.json"
    path.write_text(json.dumps(order))
    launch = override.override(override.layout(ROOT, "etcd"), "etcd", tmp_path, tmp_path, "0:0")["services"]["app-a"]["entrypoint"][
        2
    ]
    subprocess.run([sys.executable, "-c", launch, str(path)], check=True, timeout=20, env={"PATH": os.environ["PATH"]})
    assert log.read_text().strip() == f"['a'] red {ROOT}"
    assert int(stat.read_text().split()[0]) > 0


def test_zookeeper_in_containers_has_time_for_its_disk():
    ttls = {
        where: engine.facts(scenario.load("kill-leader"), "kill-leader", "zookeeper", where)["ttl_s"]
        for where in ("netns", "docker")
    }
    assert ttls == {"netns": 3.0, "docker": 6.0}


def test_an_app_can_stop_itself_for_it_is_not_the_first_process(tmp_path):
    program = (
        "import signal; signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGSTOP)); print('up', flush=True)"
    )
    stat, log, path = tmp_path / "stat", tmp_path / "log", tmp_path / "order.json"
    argv = [sys.executable, "-c", f"{program}\nwhile True: signal.pause()"]
    path.write_text(json.dumps(override.started_with(argv, sys.executable, {}, log, stat)))
    launch = override.override(override.layout(ROOT, "etcd"), "etcd", tmp_path, tmp_path, "0:0")["services"]["app-a"]["entrypoint"][
        2
    ]
    with subprocess.Popen([sys.executable, "-c", launch, str(path)]) as first:
        try:
            wait_until(lambda: log.exists() and "up" in log.read_text(), 20.0, "it is up")
            app = int(stat.read_text().split()[0])
            assert app != first.pid

            def state():
                return Path(f"/proc/{app}/stat").read_text().rpartition(")")[2].split()[0]

            first.send_signal(signal.SIGUSR1)
            wait_until(lambda: state() == "T", 10.0, "it stands still")
            first.send_signal(signal.SIGCONT)
            wait_until(lambda: state() != "T", 10.0, "it goes on")
            os.kill(app, signal.SIGKILL)
            assert first.wait(10.0) == 128 + signal.SIGKILL, "who passes signals on ends with it, and tells how as an engine would"
        finally:
            first.kill()


def test_what_containers_can_carry_out_and_what_they_refuse():
    reasons = {name: docker.lacks(scenario.load(name)) for name in scenario.names()}
    able = {name for name, reason in reasons.items() if reason is None}
    smoke = {name for name in scenario.names() if scenario.load(name).smoke}
    assert smoke - able == {"swallow-replies"}
    assert {
        "asymmetric-in",
        "store-apart",
        "connected-node-in-minority",
        "terminate-leader",
        "freeze-pod",
        "clock-slow",
        "transfer-leader",
    } <= able
    assert "no cut, freeze, end, clock or order" in reasons["loss-30"]
    assert "3 store nodes and 3 candidates" in reasons["herd"]
    assert "a name server" in reasons["names-silent"]
    assert "a proxy before each pod" in reasons["swallow-replies"]
    assert all("use --substrate netns" in reason for reason in reasons.values() if reason is not None)


def test_what_is_refused_is_refused_before_anything_starts(tmp_path, capsys):
    code = cli.main(["run", "loss-30", "--store", "etcd", "--substrate", "docker", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert code == cli.EXIT_USAGE
    assert told.startswith("leaderd-chaos: loss-30 cannot be carried out by docker: the fault loss is no cut")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_tool_of_today_is_in_no_compose_file(tmp_path, capsys):
    words = ["run", "partition-leader", "--subject", "kazoo-election", "--substrate", "docker", "--out", str(tmp_path / "out")]
    assert cli.main(words) == cli.EXIT_USAGE
    assert "kazoo-election is in no compose file" in capsys.readouterr().err


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A machine without an engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    return f"{tmp_path}/docker.sock"


def test_without_an_engine_there_is_one_message(tmp_path, capsys, nobody):
    code = cli.main(["run", "partition-leader", "--store", "etcd", "--substrate", "docker", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert code == cli.EXIT_HARNESS
    assert told == f"leaderd-chaos: no engine answers at unix://{nobody} (No such file or directory)\n"
    cli.main(["doctor", "--out", str(tmp_path)])
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("docker ")]
    assert "cannot be used: no engine answers" in line


def test_an_engine_is_told_by_its_socket(nobody):
    assert "no engine answers" in project.no_engine()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(nobody)
        listener.listen()

        def answer():
            with listener.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        thread = threading.Thread(target=answer)
        thread.start()
        assert project.no_engine() is None
        thread.join()


def test_an_engine_elsewhere_is_none_for_it_shares_no_files(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert "has to be on this machine" in docker.missing()


def test_what_else_may_be_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(project, "no_engine", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "version 2" in docker.missing()
    monkeypatch.setattr(docker.importlib.util, "find_spec", lambda name: None)
    assert "pip install -e './chaos[docker]'" in docker.missing()
    monkeypatch.setattr(docker.checkout, "root", lambda: None)
    assert "in a checkout" in docker.missing()


@pytest.mark.parametrize(("said", "is_one"), [("2.26.1", True), ("v5.0.0", True), ("1.29.2", False), ("", False)])
def test_compose_is_version_two_or_newer(monkeypatch, tmp_path, said, is_one):
    command = tmp_path / "docker-compose"
    command.write_text(f"#!/bin/sh\necho {said}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(project.shutil, "which", lambda name: str(command) if name == "docker-compose" else None)
    assert (project.compose() == ["docker-compose"]) is is_one


def test_the_list_says_who_can(capsys):
    can = {name for name in scenario.names() if "docker" in catalogue.substrates(scenario.load(name))}
    assert "partition-leader" in can
    assert "loss-30" not in can


def test_what_a_run_has_left_stays_where_no_engine_can_be_asked(tmp_path, monkeypatch, nobody):
    """Its name would be lost with the folder, and its containers would run for ever."""
    pytest.importorskip("docker")
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(tmp_path))
    left = tmp_path / f"{leftovers.SOCKETS_PREFIX}x"
    left.mkdir()
    leftovers.hold(left).close()
    (left / project.MARK).write_text("{}")
    with pytest.raises(CannotInject, match="no engine answers"):
        leftovers.remove(tmp_path, print)
    assert left.exists()


def test_links_say_what_containers_cannot_do():
    links = DockerLinks("etcd")
    for what in (
        lambda: links.lose("c1", 30),
        lambda: links.reset("c1"),
        lambda: links.throttle("c1", 64),
        lambda: links.ping_loss("c1", "s1", 1),
        lambda: links.name_server({}),
        lambda: links.small_disks(3),
        lambda: links.inside("c1"),
    ):
        with pytest.raises(CannotInject, match="use --substrate netns"):
            what()


_CUT = """
import socket
from chaos.containers import agent
from testbed.process import wait_until
theirs = "192.0.2.2"
wait_until(lambda: agent.reaches(theirs, 7, 1.0), 20.0, "it listens")
with socket.create_connection((theirs, 7), 5) as held:
    held.sendall(b"a"); assert held.recv(1) == b"a"
    assert agent.connected() == [theirs]
    assert agent.deaf([theirs]) == 1
    assert not agent.reaches(theirs, 7, 0.3)
    held.settimeout(0.5); held.sendall(b"b")
    try: raise SystemExit(f"answered: {held.recv(1)}")
    except TimeoutError: print("silent")
    agent.deaf([]); agent.deaf([])
    assert agent.reaches(theirs, 7, 5.0)
    held.settimeout(20); assert held.recv(1) == b"b"
    print("whole")
"""
_ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while said := self.request.recv(1): self.request.sendall(said)
with socketserver.ThreadingTCPServer(("192.0.2.2", 7), Echo) as server:
    server.serve_forever()
"""
_TWO_HOSTS = """
mount -t tmpfs tmpfs /run; mkdir /run/netns
for host in 1 2; do
    ip netns add "h$host"
done
ip link add eth0 netns h1 type veth peer name eth0 netns h2
for host in 1 2; do
    ip -n "h$host" addr add "192.0.2.$host/24" dev eth0
    ip -n "h$host" link set eth0 up
    ip -n "h$host" link set lo up
done
ip netns exec h2 "$1" -c "$2" &
ip netns exec h1 "$1" -c "$3"
"""


def test_an_agent_cuts_in_silence_and_mends(tmp_path):
    """In namespaces of our own, as in a container's: the connection that there was breaks no more than a new one can be made."""
    if subprocess.run(enter(["true"]), capture_output=True, timeout=20).returncode != 0:
        pytest.skip("this machine gives no user namespaces")
    words = enter(["sh", "-ec", _TWO_HOSTS, "two", sys.executable, _ECHO, _CUT])
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert done.stdout.split() == ["silent", "whole"], done.stderr


def test_an_agent_tells_whoever_asks_what_goes_wrong(tmp_path):
    path = tmp_path / "agent.sock"
    threading.Thread(target=agent.main, args=(str(path),), daemon=True).start()
    with socket.socket(socket.AF_UNIX) as connection:

        def there():
            try:
                connection.connect(str(path))
            except OSError:
                return False
            return True

        try:
            wait_until(there, 5.0, "the agent listens")
        except WaitTimeout:
            pytest.fail("it never listened")
        with connection.makefile("rwb") as stream:
            for asked, told in (
                ('["moon"]', "KeyError"),
                ('["reaches", "127.0.0.1", 1, 0.2]', "false"),
                ('["view", "etcd"]', "null"),
            ):
                stream.write(asked.encode() + b"\n")
                stream.flush()
                assert told in stream.readline().decode()
