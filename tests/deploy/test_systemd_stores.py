"""The hardened unit under a real systemd with each real store: its client library inside the sandbox, its secret by LoadCredential.

Both drop-ins are in place as they are shipped: the credential, and no network but the store's and loopback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import testbed
from tests.deploy import systemd_box

HERE = Path(__file__).parent
EXAMPLES = systemd_box.UNITS / "examples"
KINDS = ("etcd", "zookeeper", "consul")


def credentials(kind: str) -> str:
    """The drop-in as it is; and for Consul what its comment says: a token, and no user."""
    text = (EXAMPLES / "credentials.conf").read_text()
    if kind != "consul":
        return text
    kept = [line for line in text.splitlines() if "USERNAME" not in line]
    return "\n".join(kept).replace("AUTH_PASSWORD_FILE", "AUTH_TOKEN_FILE") + "\n"


@pytest.fixture(scope="module", params=KINDS)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kind: str = request.param
    testbed.require(kind)
    drop_ins = {"credentials.conf": credentials(kind), "addresses.conf": (EXAMPLES / "addresses.conf").read_text()}
    work = tmp_path_factory.mktemp(kind)
    found = systemd_box.run(work, HERE / "systemd_store_driver.py", {"leaderd.yaml": ""}, kind, drop_ins=drop_ins)
    return {**found, "kind": kind}


pytestmark = [pytest.mark.servers, pytest.mark.timeout(150), pytest.mark.xdist_group("systemd")]


def test_it_leads_and_renews_under_every_restriction(seen: dict[str, Any]) -> None:
    assert (seen["start"], seen["leads"], seen["renews"], seen["restarts"]) == (0, True, True, "0"), seen["log"][-4000:]
    assert seen["answer"]["store"]["kind"] == seen["kind"]
    assert seen["answer"]["store"]["connected"]
    assert seen["grpc"]
    process = seen["process"]
    assert (process["Uid"].split()[0], process["NoNewPrivs"], process["Seccomp"]) == ("2040", "1", "2")
    assert {process[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}


def test_the_secret_is_a_credential_in_memory(seen: dict[str, Any]) -> None:
    (mount,) = [line.split() for line in seen["mounts"].splitlines() if line.split()[1] == "/run/credentials/leaderd.service"]
    assert mount[2] in ("ramfs", "tmpfs")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount[3].split(","))


def test_it_stops_as_it_should(seen: dict[str, Any]) -> None:
    assert seen["stop"] == 0
    assert seen["after_stop"] == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
