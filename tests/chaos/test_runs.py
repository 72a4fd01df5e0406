"""Real runs in network namespaces: the cut that fools other tools, on every store."""

import json
import subprocess
import sys

import pytest

import testbed
from chaos.stores import KINDS
from chaos.substrates import netns

pytestmark = [pytest.mark.servers, pytest.mark.timeout(150)]


@pytest.mark.parametrize("store", KINDS)
def test_the_store_node_that_the_leader_talks_to_is_cut_from_its_quorum(store, tmp_path):
    testbed.require(store)
    testbed.require("nftables")
    reason = netns.missing()
    if reason is not None:
        pytest.skip(f"NO NAMESPACES: {reason}")
    command = [sys.executable, "-m", "chaos", "run", "store-node-from-quorum", "--store", store, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = tmp_path.glob("*/results.json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(results.read_text())["checks"]}
    assert verdicts["no-overlap"] == verdicts["no-needless-move"] == verdicts["faults-bite"] == "PASS"
