"""The profile `monitoring` of a project that is up: its Prometheus scrapes all three daemons, and has our alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testbed import wait_until
from tests.deploy import tools
from tests.deploy.project import BUSY_S, STORES, Project

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "leaderd.rules.yaml"
API = "http://prometheus:9090/api/v1"


@pytest.fixture(scope="module", params=STORES)
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    found = Project(request.param)
    names = {each.name for each in found.client.containers.list()}
    if f"{found.name}-prometheus-1" not in names:
        tools.no_engine(f"docker-compose.{request.param}.yml is up, but not with --profile monitoring")
    yield found
    found.client.close()


def test_each_daemon_is_scraped(project: Project) -> None:
    def health() -> dict[str, str]:
        return {each["labels"]["instance"]: each["health"] for each in project.get(f"{API}/targets")["data"]["activeTargets"]}

    wanted = {f"leaderd-{letter}:4041": "up" for letter in "abc"}
    assert wait_until(lambda: health() == wanted, 2 * BUSY_S, "all targets are up", 0.5), health()


def test_each_alert_is_loaded_and_none_can_not_be_read(project: Project) -> None:
    def rules() -> dict[str, str]:
        groups = project.get(f"{API}/rules")["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wanted = {rule["alert"]: "ok" for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert len(wanted) > 5
    wait_until(lambda: rules() == wanted, 2 * BUSY_S, "each rule was evaluated without an error", 0.5)


def test_one_leader_is_counted(project: Project) -> None:
    def leaders() -> list[str]:
        found = project.get(f"{API}/query?query=sum(leaderd_is_leader)")["data"]["result"]
        return [each["value"][1] for each in found]

    wait_until(lambda: leaders() == ["1"], project.take_over_s, "one leads, as Prometheus sees it", 0.5)


def test_it_is_published_on_loopback_only(project: Project) -> None:
    ports = project.container("prometheus").attrs["NetworkSettings"]["Ports"]
    assert ports["9090/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "9090"}]
