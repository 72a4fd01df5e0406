"""The manifests: rendered by real kubectl, held against the schemas of old and new releases, and their configuration read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import tools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
STORES = ("etcd", "zookeeper", "consul")
# Native sidecars are on by default since 1.29; the newest is what the validator carries.
RELEASES = ("1.29", "1.33", "1.37")


def rendered(name: str) -> str:
    done = subprocess.run([tools.tool("kubectl"), "kustomize", str(FOLDER / name)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def objects(name: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(rendered(name))}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("store", STORES)
def test_the_manifests_are_valid(store: str, release: str, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(rendered(f"overlays/{store}"))
    tools.run("kubernetes-validate", "--strict", "--kubernetes-version", release, str(tmp_path / "all.yaml"))


def test_the_validator_is_awake(tmp_path: Path) -> None:
    text = rendered("overlays/etcd").replace("failureThreshold", "failureTreshold")
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(AssertionError, match="failureTreshold"):
        tools.run("kubernetes-validate", "--strict", "--kubernetes-version", RELEASES[-1], str(tmp_path / "all.yaml"))


@pytest.mark.parametrize("store", STORES)
def test_the_pod_is_restricted_and_never_unready(store: str) -> None:
    pod = objects(f"overlays/{store}")["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["initContainers"], *pod["containers"]]:
        context = container["securityContext"]
        assert context["runAsUser"] > 0
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
        assert context["readOnlyRootFilesystem"] is True
    sidecar = pod["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always"
    assert "readinessProbe" not in sidecar
    assert "cpu" not in sidecar["resources"]["limits"]
    said = {each["name"]: each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for each in sidecar["env"]}
    assert (said["LEADERD_INSTANCE"], said["LEADERD_INSTANCE_UID"]) == ("metadata.name", "metadata.uid")
    assert not [name for name in sidecar["env"] if "PASSWORD" in name["name"] or "TOKEN" in name["name"]]


@pytest.mark.parametrize("store", STORES)
def test_the_pod_resigns_before_it_drains(store: str) -> None:
    found = objects(f"overlays/{store}")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    command = pod["initContainers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:4] == ["python3", "-m", "leaderd", "resign"]
    elections = yaml.safe_load(found["ConfigMap"]["data"]["leaderd.yaml"])["elections"]
    assert command[4] == elections[0]["name"]
    assert f"--cooldown={pod['terminationGracePeriodSeconds']}s" in command
    # The words as the CLI reads them: what is missing is only the daemon.
    done = subprocess.run([sys.executable, *command[1:], "--socket=/nonexistent"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, "usage" in done.stderr) == (3, False), done.stderr


@pytest.mark.parametrize("store", STORES)
def test_selectors_and_ports_meet(store: str) -> None:
    found = objects(f"overlays/{store}")
    template = found["Deployment"]["spec"]["template"]
    chosen = template["metadata"]["labels"]
    for selector in (
        found["Deployment"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"],
    ):
        assert selector["matchLabels"]
        assert selector["matchLabels"].items() <= chosen.items()
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    names = {port["name"] for each in containers for port in each["ports"]}
    assert {port["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]} == names
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    mounts = {m["name"] for each in containers for m in each["volumeMounts"]}
    assert volumes == mounts


@pytest.mark.parametrize("store", STORES)
def test_leaderd_accepts_the_configuration(store: str, tmp_path: Path) -> None:
    found = objects(f"overlays/{store}")
    text = found["ConfigMap"]["data"]["leaderd.yaml"].replace("/etc/leaderd-store", str(tmp_path))
    (tmp_path / "leaderd.yaml").write_text(text)
    for name in ("password", "token"):
        (tmp_path / name).write_text("canary\n")
        (tmp_path / name).chmod(0o440)
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    sidecar = found["Deployment"]["spec"]["template"]["spec"]["initContainers"][0]
    environ = {each["name"]: each.get("value", "app-7d9c-x") for each in sidecar["env"]}
    words = ["leaderd", "config", "check", f"--config={tmp_path}/leaderd.yaml"]
    assert sidecar["args"] == ["run", "--config=/etc/leaderd/leaderd.yaml"]
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, env={**environ, **path})
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
