"""The compose files: read by Compose itself; and, where one is up (`up --wait`), driven through faults with the Docker SDK.

The end-to-end tests skip, plainly, where no engine answers or the project is not up.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import wait_until
from tests.deploy import tools

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
STORES = ("etcd", "zookeeper", "consul")
PROFILES = ("--profile", "chaos", "--profile", "monitoring")
TAKE_OVER_S = 25.0
"""The ttl of 10 s, and what the store and a busy machine add."""


def read(store: str) -> dict[str, Any]:
    file = FOLDER / f"docker-compose.{store}.yml"
    return json.loads(tools.run("docker-compose", "-f", str(file), *PROFILES, "config", "--format", "json"))


@pytest.mark.parametrize("store", STORES)
def test_compose_accepts_it(store: str) -> None:
    said = read(store)
    services = said["services"]
    assert said["name"] == f"leaderd-{store}"
    nodes = [name for name in services if name.startswith(store)]
    assert len(nodes) == 3
    assert all("healthcheck" in services[name] for name in nodes)
    for letter in "abc":
        daemon, app = services[f"leaderd-{letter}"], services[f"app-{letter}"]
        waits = {name: each["condition"] for name, each in daemon["depends_on"].items() if not name.startswith("app-")}
        assert waits == dict.fromkeys(nodes, "service_healthy")
        run = {"type": "volume", "source": f"run-{letter}", "target": "/run/leaderd", "volume": {}}
        assert run in daemon["volumes"]
        assert run in app["volumes"]
        assert daemon["labels"] == {"leaderd.pair": letter}
    assert [name for name in services if "network_mode" in services[name]] == ["leaderd-c"]
    assert services["leaderd-c"]["network_mode"] == "service:app-c"
    for service in ("leaderd-a", "app-a", "resource"):
        assert (services[service]["read_only"], services[service]["cap_drop"]) == (True, ["ALL"])
    profiles = {name: service["profiles"][0] for name, service in services.items() if service.get("profiles")}
    assert profiles == {"chaos": "chaos", "prometheus": "monitoring", "grafana": "monitoring"}


@pytest.mark.parametrize("store", STORES)
def test_the_files_it_mounts_are_there_and_the_options_are_leaderds(store: str, tmp_path: Path) -> None:
    services = read(store)["services"]
    binds = [Path(v["source"]) for each in services.values() for v in each.get("volumes", []) if v["type"] == "bind"]
    assert len(binds) > 5
    assert [path for path in binds if path.name != "docker.sock" and not path.is_file()] == []
    flags = services["leaderd-a"]["command"][1:]
    words = [sys.executable, "-m", "leaderd", "config", "check", *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, env={"LEADERD_RUNTIME_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", [*(f"docker-compose.{store}.yml" for store in STORES), "common.yml"])
def test_the_schema_of_compose_holds(file: str) -> None:
    tools.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / file))


def test_prometheus_and_grafana_find_what_they_are_given() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    assert scraped == [f"leaderd-{letter}:4041" for letter in "abc"]
    services = read("etcd")["services"]
    targets = {v["target"] for v in services["prometheus"]["volumes"]}
    assert set(yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"]) <= targets
    provided = yaml.safe_load((FOLDER / "dashboards.yaml").read_text())["providers"][0]["options"]["path"]
    assert f"{provided}/leaderd.json" in {v["target"] for v in services["grafana"]["volumes"]}


def test_the_resource_refuses_a_stale_token(tmp_path: Path) -> None:
    code = (
        "import runpy, json; r = runpy.run_path('fenced_resource.py'); said = lambda s, t: {'slot': s, 'app': 'a', 'token': t}\n"
        "print(json.dumps([r['take'](said(*each)) for each in [(1, 5), (2, 6), (3, 5), (4, 6)]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout) == [True, True, False, True], done.stderr


def test_the_chaos_container_tells_a_bad_ledger() -> None:
    good = [{"slot": 1, "token": 1}, {"slot": 2, "token": 2}]
    code = (
        "import runpy, json, sys; judge = runpy.run_path('chaos.py')['judge']\n"
        "print(json.dumps([judge(each) for each in json.load(sys.stdin)]))"
    )
    given = json.dumps([good, [*good, {"slot": 2, "token": 2}], [*good, {"slot": 3, "token": 1}]])
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=FOLDER, input=given, capture_output=True, text=True, timeout=30, env={"PROJECT": "x"})
    assert json.loads(done.stdout) == [[], ["slot 2 ran 2 times"], ["token 1 after 2"]], done.stderr


# ---- end to end, where a project is up


class Project:
    """One compose project that is up."""

    def __init__(self, store: str) -> None:
        docker = pytest.importorskip("docker", reason="NO ENGINE: the docker SDK is not here")
        reason = f"NO ENGINE: no Docker engine where docker-compose.{store}.yml is up"
        # Asked first by the command: the SDK leaves a socket behind where nobody answers.
        if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True, timeout=30).returncode:
            pytest.skip(reason)
        self.client = docker.from_env(timeout=60)
        self.name = f"leaderd-{store}"
        try:
            self.daemons = {letter: self.container(f"leaderd-{letter}") for letter in "abc"}
            self.resource = self.container("resource")
        except docker.errors.NotFound:
            self.client.close()
            pytest.skip(reason)

    def container(self, service: str) -> Any:
        return self.client.containers.get(f"{self.name}-{service}-1")

    def leads(self, letter: str) -> bool:
        """Whether the daemon itself says so. One that does not run, or is frozen, says nothing."""
        daemon = self.daemons[letter]
        daemon.reload()
        return daemon.status == "running" and daemon.exec_run(["python3", "-m", "leaderd", "is-leader", "-q"]).exit_code == 0

    def leader(self, among: str = "abc") -> str:
        found = wait_until(lambda: [each for each in among if self.leads(each)], TAKE_OVER_S, f"one of {among} leads")
        assert len(found) == 1, f"two leaders: {found}"
        return found[0]

    def ledger(self) -> list[dict[str, Any]]:
        code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/ledger', timeout=5).read().decode())"
        return json.loads(self.resource.exec_run(["python3", "-c", code]).output)

    def worked(self, letter: str) -> None:
        """Wait until its app has written after now."""
        since = len(self.ledger())
        wait_until(lambda: [x for x in self.ledger()[since:] if x["app"] == letter and x["taken"]], 15, f"app-{letter} works")


@pytest.fixture(scope="module", params=STORES)
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    found = Project(request.param)
    yield found
    found.client.close()


@pytest.fixture
def sound(project: Project) -> Iterator[Project]:
    """A project in which each slot ran at most once, and no token went back, whatever the test did."""
    yield project
    taken = [each for each in project.ledger() if each["taken"]]
    slots = [each["slot"] for each in taken]
    assert len(slots) == len(set(slots)), "a job ran twice in one slot"
    assert all(a["token"] <= b["token"] for a, b in itertools.pairwise(taken)), "an older token was taken"


def test_one_leads_and_its_app_works_over_the_shared_socket_or_network(sound: Project) -> None:
    sound.worked(sound.leader())


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fault", ["kill", "pause", "disconnect"])
def test_another_takes_over_and_the_first_rejoins(sound: Project, fault: str) -> None:
    first = sound.leader()
    sound.worked(first)
    daemon = sound.daemons[first]
    owner = sound.container("app-c") if first == "c" else daemon
    network, facts = next(iter(owner.attrs["NetworkSettings"]["Networks"].items()))
    cut = sound.client.networks.get(network)
    do, mend = {
        "kill": (daemon.kill, daemon.start),
        "pause": (daemon.pause, daemon.unpause),
        "disconnect": (lambda: cut.disconnect(owner), lambda: cut.connect(owner, aliases=facts["Aliases"])),
    }[fault]
    do()
    try:
        second = sound.leader("abc".replace(first, ""))
        assert fault == "pause" or not sound.leads(first)
        sound.worked(second)
    finally:
        mend()
    # Back, and waiting: leadership does not move, and the daemon knows who leads.
    asked = ["python3", "-m", "leaderd", "status", "-o", "json"]
    wait_until(
        lambda: f'"leaderd-{second}"' in daemon.exec_run(asked).output.decode() and sound.leads(second) and not sound.leads(first),
        TAKE_OVER_S,
        "it is back as a standby",
    )
    sound.worked(second)
