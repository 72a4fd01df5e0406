"""The compose files, read: by Compose itself, by its schema, and by us. Where one is up: `test_compose_up.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import tools
from tests.deploy.project import STORES, failover_s, missed

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
PROFILES = ("--profile", "chaos", "--profile", "monitoring")


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


@pytest.mark.parametrize("store", STORES)
def test_a_fault_is_held_for_longer_than_fail_over_takes(store: str) -> None:
    # Then the job of the new leader must have been taken: a second for its app, one for a busy machine.
    assert float(read(store)["services"]["chaos"]["environment"]["HOLD_S"]) >= failover_s(store) + 2


@pytest.mark.parametrize("store", STORES)
def test_each_daemon_answers_to_the_name_that_prometheus_asks_for(store: str) -> None:
    asked = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    services = read(store)["services"]
    for letter in "abc":
        assert f"leaderd-{letter}:4041" in asked
        assert f"leaderd-{letter}" in services[f"leaderd-{letter}"]["environment"]["LEADERD_HTTP_HOSTS"].split(",")


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


def test_only_a_fault_excuses_a_slot_without_a_job() -> None:
    taken = [{"slot": slot} for slot in (1, 2, 3, 9, 10, 12)]
    assert missed(taken, [(3.5, 8.2)]) == [11]
    assert missed(taken, []) == [4, 5, 6, 7, 8, 11]
    assert missed(taken, [(5.1, 7.9), (11.0, 11.5)]) == [4]


def test_compose_fails_when_it_fails(tmp_path: Path) -> None:
    # The command that PyPI's package installs does not.
    (tmp_path / "compose.yml").write_text("services: {a: {image: x, nonsense: 1}}")
    done = subprocess.run(
        [tools.tool("docker-compose"), "-f", str(tmp_path / "compose.yml"), "config"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "nonsense" in done.stderr
