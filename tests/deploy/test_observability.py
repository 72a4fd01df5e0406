"""Alerts and dashboard by a real Prometheus that scrapes a real daemon. Nothing may be empty or unknown."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import ports, wait_until
from testbed.process import Process
from tests.deploy import tools
from tests.deploy.test_alerts import RULES, rules, tool
from tests.system.daemons import DaemonProcess

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "leaderd.json"
DRIVER = Path(__file__).with_name("grafana_driver.py")
METRIC = re.compile(r"\b(leaderd_\w+|leader_election_\w+)")
ANY = {"$job": ".*", "$election": ".*"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> list[str]:
    """Every expression of the dashboard, for any job and election."""
    found = []
    for text in (target["expr"] for panel in panels() for target in panel["targets"]):
        for name, value in ANY.items():
            text = text.replace(name, value)
        found.append(text)
    return found


def test_the_dashboard_is_one_grafana_can_load() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels()}) == len(panels())
    cells: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        mine = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not mine & cells, f"{panel['title']} lies over another panel"
        cells |= mine
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    known = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(board["panels"])))
    assert used <= known


def off_the_model(path: Path) -> list[str]:
    """What of a dashboard Grafana's own model does not know, or knows otherwise."""
    found: list[str] = json.loads(tools.run("python", str(DRIVER), str(path)))
    return found


def test_grafanas_own_model_reads_the_dashboard_and_loses_nothing() -> None:
    assert not off_the_model(DASHBOARD)


@pytest.mark.parametrize(
    ("was", "becomes", "named"),
    [
        ('"legendFormat"', '"legendFormt"', "legendFormt: not in the model"),
        ('"schemaVersion": 39', '"schemaVersion": "39"', "'39' is no int"),
        ('"colorMode": "value"', '"colorMode": "valeu"', "'valeu' is none of"),
    ],
)
def test_the_model_is_awake(was: str, becomes: str, named: str, tmp_path: Path) -> None:
    text = DASHBOARD.read_text()
    assert was in text
    (tmp_path / "board.json").write_text(text.replace(was, becomes, 1))
    (problem,) = off_the_model(tmp_path / "board.json")
    assert named in problem


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A daemon that leads and a Prometheus that has scraped it: its address, and the daemon's metrics as text."""
    program, folder = tool("prometheus"), tmp_path_factory.mktemp("prometheus")
    with ports.reserve(2) as reserved:
        ops, web = reserved.ports
        host = f"127.0.0.1:{web}"
        daemon = DaemonProcess("pod-a", f"local://{folder}/store", folder)
        daemon.http = f"127.0.0.1:{ops}"
        daemon.start()
        scrape = {"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{ops}"]}]}
        config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump({**config, "rule_files": [str(RULES)]}))
        words = [
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{web}",
        ]
        server = Process([program, *words], folder / "prometheus.log")
        try:
            server.start()
            address = f"http://{host}"
            daemon.get("/is-leader")
            wait_until(lambda: answered(address, "sum_over_time(leaderd_is_leader[5m]) > 5"), 40, "two scrapes")
            yield address, str(daemon.get("/metrics")[1])
        finally:
            server.stop()
            daemon.end()


def answered(address: str, query: str) -> list[Any]:
    """What an instant query gives; an empty list for nothing, or while the server is not up. A query it refuses fails the test."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=5) as reply:
            found: list[Any] = json.load(reply)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == 503:  # not up yet
            return []
        pytest.fail(f"{query}: {error.read().decode()}")
    except OSError:
        return []


@pytest.mark.servers
@pytest.mark.xdist_group("prometheus")
def test_every_panel_shows_something(prometheus: tuple[str, str]) -> None:
    address, _ = prometheus
    assert not [query for query in queries() if not answered(address, query)]


@pytest.mark.servers
@pytest.mark.xdist_group("prometheus")
def test_every_metric_named_exists_and_every_metric_is_named(prometheus: tuple[str, str]) -> None:
    there = set(re.findall(r"^(\w+)", prometheus[1], re.MULTILINE))
    labels = {"leaderd"}
    named = {name for text in [*queries(), *(rule["expr"] for rule in rules())] for name in METRIC.findall(text)}
    assert named <= there, named - there
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in there if METRIC.match(name)} - labels
    assert families == {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}


@pytest.mark.servers
@pytest.mark.xdist_group("prometheus")
def test_a_real_prometheus_loads_the_alerts_and_a_healthy_daemon_alone_is_quiet(prometheus: tuple[str, str]) -> None:
    address, _ = prometheus
    with urllib.request.urlopen(f"{address}/api/v1/rules", timeout=5) as reply:
        loaded = [rule for group in json.load(reply)["data"]["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in loaded] == [rule["alert"] for rule in rules()]
    assert not [rule for rule in loaded if rule.get("lastError")]
    pending = [rule["alert"] for rule in rules() if answered(address, rule["expr"])]
    assert pending == ["LeaderdTooFewCandidates"], "one daemon is too few, and nothing else is wrong"
