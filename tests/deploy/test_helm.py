"""The chart: linted and rendered by Helm's own code, refused where the values are wrong, and the same objects as the overlays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import tools
from tests.deploy.test_kubernetes import RELEASES, STORES
from tests.deploy.test_kubernetes import objects as kustomized
from tests.deploy.test_leader_label import labelled

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "leaderd"
DRIVER = Path(__file__).with_name("helm_driver.py")


def values(store: str, **more: Any) -> dict[str, Any]:
    return {**yaml.safe_load((CHART / "stores" / f"{store}.yaml").read_text()), **more}


def helm(action: str, given: dict[str, Any], refused: bool = False) -> str:
    words = [tools.tool("python"), str(DRIVER), action, str(CHART)]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, timeout=50)
    assert (done.returncode != 0) == refused, done.stderr or done.stdout
    return done.stderr if refused else done.stdout


def rendered(given: dict[str, Any]) -> list[dict[str, Any]]:
    files = json.loads(helm("render", given))
    found = [each for name, text in sorted(files.items()) if name.endswith(".yaml") for each in yaml.safe_load_all(text)]
    return [each for each in found if each is not None]


def bare(found: dict[str, Any]) -> dict[str, Any]:
    """An object without what only one of the two tools writes: Helm's own labels, kustomize's hash."""
    found = json.loads(json.dumps(found))
    for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
        found["metadata"].get("labels", {}).pop(label, None)
    if found["kind"] == "ConfigMap":
        (name, text), *_ = found["data"].items()
        found["metadata"] = {"name": name}  # kustomize labels what is in the base
        found["data"][name] = yaml.safe_load(text) if name.endswith(".yaml") else text
    if found["kind"] == "Deployment":
        template = found["spec"]["template"]
        for name in ("checksum/config", "checksum/leader-label"):
            template["metadata"]["annotations"].pop(name, None)
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = volume["name"]
        template["spec"]["volumes"].sort(key=lambda each: each["name"])
        for container in template["spec"]["initContainers"]:
            container["volumeMounts"].sort(key=lambda each: each["name"])
            container["env"].sort(key=lambda each: each["name"])
    return found


def named(found: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name, bare."""
    return {(each["kind"], each["metadata"]["name"]): each for each in map(bare, found)}


@pytest.mark.parametrize("store", STORES)
def test_lint_has_nothing_to_say(store: str) -> None:
    report = json.loads(helm("lint", values(store, leaderLabel={"enabled": True})))
    assert report == {"linted": 1, "bad": [], "errors": []}


@pytest.mark.parametrize("store", STORES)
def test_the_chart_renders_the_objects_of_the_overlay(store: str) -> None:
    assert named(rendered(values(store))) == named(kustomized(f"overlays/{store}").values())


@pytest.mark.parametrize("store", STORES)
def test_the_leader_label_is_the_component(store: str, tmp_path: Path) -> None:
    ours = named(rendered(values(store, leaderLabel={"enabled": True})))
    assert ours == named(yaml.safe_load_all(labelled(tmp_path, store)))
    assert {kind for kind, _ in ours} >= {"Role", "RoleBinding"}


@pytest.mark.parametrize("release", [RELEASES[0], RELEASES[-1]])
def test_what_it_renders_is_valid(release: str, tmp_path: Path) -> None:
    given = values("etcd", preStop={"enabled": False, "cooldown": "60s"})
    given["leaderLabel"] = {"enabled": True}
    given["app"] = {"image": "mine:2", "port": 9000, "runAsUser": 1234, "env": [{"name": "A", "value": "b"}]}
    found = rendered(given)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(found))
    tools.run("kubernetes-validate", "--strict", "--kubernetes-version", release, str(tmp_path / "all.yaml"))
    pod = next(each for each in found if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert "lifecycle" not in pod["initContainers"][0]
    assert pod["containers"][0]["image"] == "mine:2"
    assert {"name": "A", "value": "b"} in pod["containers"][0]["env"]


WRONG = {
    "no store": ({"config": {"elections": [{"name": "jobs"}]}}, "store"),
    "no election": ({"config": {"store": {"url": "etcd://e:2379"}}}, "elections"),
    "a key leaderd does not know": ({"config": {"tmiing": {}, "store": {}, "elections": [{"name": "jobs"}]}}, "tmiing"),
    "a value the chart does not know": ({"replica": 3}, "replica"),
    "a CPU limit": ({"resources": {"limits": {"cpu": "100m"}}}, "resources"),
    "a label that is neither on nor off": ({"leaderLabel": {"enabled": "yes"}}, "leaderLabel"),
    "a cooldown without unit": ({"preStop": {"enabled": True, "cooldown": "60"}}, "cooldown"),
    "root": ({"app": {"image": "a", "port": 1, "runAsUser": 0}}, "runAsUser"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused(case: str) -> None:
    wrong, named = WRONG[case]
    assert named in helm("render", {**values("etcd"), **wrong}, refused=True)


def test_the_chart_has_the_version_of_the_package() -> None:
    from leaderd import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert yaml.safe_load((CHART / "values.yaml").read_text())["image"] == f"leaderd:{__version__}"
