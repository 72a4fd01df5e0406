"""Real runs in network namespaces: the cut that fools other tools, on every store."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import testbed
from chaos.history import lines
from chaos.leftovers import SOCKETS_PREFIX
from chaos.stores import KINDS
from chaos.substrates import netns
from testbed.scratch import scratch_root

pytestmark = [pytest.mark.servers, pytest.mark.timeout(150)]


def able(*needed):
    for each in (*needed, "nftables"):
        testbed.require(each)
    reason = netns.missing()
    if reason is not None:
        testbed.lacking("namespace", reason)


@pytest.mark.parametrize("store", KINDS)
def test_the_store_node_that_the_leader_talks_to_is_cut_from_its_quorum(store, tmp_path):
    able(store)
    command = [sys.executable, "-m", "chaos", "run", "store-node-from-quorum", "--store", store, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = tmp_path.glob("*/results.json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(results.read_text())["checks"]}
    assert verdicts["no-overlap"] == verdicts["no-needless-move"] == verdicts["faults-bite"] == "PASS"


def test_two_leaders_are_caught(tmp_path):
    """Nothing interrupts a function under kazoo's Election when its session is lost. What does not see that sees nothing."""
    able("zookeeper")
    command = [sys.executable, "-m", "chaos", "run", "partition-leader", "--subject", "kazoo-election", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140)
    assert done.returncode == 1, done.stdout + done.stderr
    (results,) = tmp_path.glob("*/results.json")
    found = json.loads(results.read_text())
    assert {check["name"]: check["verdict"] for check in found["checks"]}["no-overlap"] == "FAIL"
    assert found["figures"]["together_ms"] > 1000
    assert 'class="overlap"' in (results.parent / "report.html").read_text(), "and it is drawn"


def our_processes(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if str(folder).encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


def test_an_interruption_heals_everything(tmp_path):
    able("etcd")
    command = [sys.executable, "-m", "chaos", "run", "partition-leader", "--store", "etcd", "--out", str(tmp_path)]
    with (
        tempfile.TemporaryDirectory(dir=scratch_root()) as temporary,  # other tests make runs at the same time
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"TMPDIR": temporary},
        ) as running,
    ):
        assert running.stdout is not None
        assert any("c1 cut" in line or "verified" in line for line in running.stdout), "the fault is in force"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        rest = running.stdout.read()
        code = running.wait(60)
        assert list(Path(temporary).glob(f"{SOCKETS_PREFIX}*")) == []
    assert code == 255, rest
    assert "healed" in rest
    assert "Traceback" not in rest
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    kinds = [line["kind"] for line in lines(folder)]
    assert kinds.count("heal") == kinds.count("fault") == 1
    assert "broken-off" in kinds
    assert our_processes(folder) == []
