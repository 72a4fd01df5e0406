"""The unit under a real systemd, with the local store; start, reload, a frozen daemon, stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy import systemd_box

HERE = Path(__file__).parent
CONFIG = "store: {url: 'local:///var/lib/leaderd'}\nelections: [{name: jobs}]\nlisten: {http: off, ops: off}\nlog: {level: info}\n"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    patience = {"watchdog.conf": "[Service]\nWatchdogSec=3s\n"}
    work = tmp_path_factory.mktemp("systemd")
    return systemd_box.run(work, HERE / "systemd_driver.py", {"leaderd.yaml": CONFIG}, drop_ins=patience)


pytestmark = [pytest.mark.timeout(150), pytest.mark.xdist_group("systemd")]


def test_start_returns_when_it_takes_part(seen: dict[str, Any]) -> None:
    assert seen["start"] == 0, seen["log"][-4000:]
    assert seen["after_start"] == {"ActiveState": "active", "StatusText": "taking part in elections", "Type": "notify"}
    assert seen["leads"]


def test_it_runs_with_nothing_to_abuse(seen: dict[str, Any]) -> None:
    process = seen["process"]
    assert process["Uid"].split()[0] == "2040"
    assert {process[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
    assert seen["socket_mode"] == "660"
    assert "jobs.lease 640" in seen["state_files"]


def test_a_reload_costs_no_term(seen: dict[str, Any]) -> None:
    assert seen["reload"] == 0
    assert seen["same_process_after_reload"]
    assert seen["leads_after_reload"]


def test_a_frozen_daemon_is_replaced(seen: dict[str, Any]) -> None:
    assert seen["watchdog_restarts"]
    assert seen["new_process_after_watchdog"]


def test_stop_is_a_success(seen: dict[str, Any]) -> None:
    assert seen["stop"] == 0
    assert seen["after_stop"] == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}


def test_a_refused_configuration_is_not_tried_again_and_again(seen: dict[str, Any]) -> None:
    assert seen["bad_config"] == {"Result": "exit-code", "ExecMainStatus": "78", "ActiveState": "failed", "SubState": "failed"}
