"""docs/quickstart.md: every command in it runs, as it stands there, against a real server of each store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, ports, require
from testbed.fetch import installed

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
CLUSTERS = {"etcd": EtcdCluster, "ZooKeeper": ZooKeeperCluster, "Consul": ConsulCluster}
STORES = ["One host", *CLUSTERS]


def blocks(text: str) -> str:
    """The commands in it, but for the installation, which tests/deploy/test_release.py does, and for etcdctl, which is below."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("pip install ", "etcdctl ")))


def script(store: str) -> str:
    choose, _, steps = PAGE.partition("\n## Two instances\n")
    chosen = choose.partition(f"\n### {store}\n")[2].partition("\n### ")[0]
    assert blocks(chosen).startswith("export LEADERD_STORE_URL=")
    return f"set -eu\n{blocks(chosen)}\n{blocks(steps)}\n"


@contextmanager
def serving(store: str, text: str) -> Iterator[str]:
    """The script with the address of a real server in it."""
    if store == "One host":
        yield text
        return
    require(store.lower())
    with CLUSTERS[store](nodes=1) as cluster:
        standing = re.search(r"LEADERD_STORE_URL=\w+://([\w.:]+)/", text)
        running = re.search(r"://([\w.:]+)", cluster.url())
        assert standing is not None
        assert running is not None
        yield text.replace(standing.group(1), running.group(1))


@pytest.mark.servers
@pytest.mark.timeout(150)
@pytest.mark.parametrize("store", STORES)
def test_every_command_of_the_quick_start_runs(store: str, tmp_path: Path) -> None:
    with serving(store, script(store)) as text, ports.reserve(3) as reserved:
        for usual, ours in zip(("4040", "4042"), reserved.ports, strict=False):
            text = text.replace(usual, str(ours))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADERD_")}
        environ |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
        environ |= {"LEADERD_HTTP": f"127.0.0.1:{reserved.ports[0]}", "LEADERD_OPS": f"127.0.0.1:{reserved.ports[2]}"}
        log = tmp_path / "said"
        with log.open("w") as said:
            shell = subprocess.Popen(["bash", "-c", text], env=environ, cwd=tmp_path, stdout=said, stderr=said, process_group=0)
            try:
                code = shell.wait(120)
            finally:
                subprocess.run(["kill", "-KILL", "--", f"-{shell.pid}"], stderr=subprocess.DEVNULL)
                shell.wait()
    told = log.read_text()
    assert code == 0, told
    tokens = [int(token) for token in re.findall(r"the report, under token (\d+)", told)]
    assert len(tokens) == 1
    assert told.count(f'"token":{tokens[0]}') >= 2
    assert "\nnever\n" not in told
    assert "pod-b leads since" in told


AS_A_USER = """
etcdctl user add root:root
etcdctl user grant-role root root
etcdctl auth enable
leaderd run --http off --ops off --election daily-report &
leaderd wait --for=leader --max 30s
kill $!
wait $!
"""


@pytest.mark.servers
@pytest.mark.timeout(90)
def test_the_user_of_etcd_may_do_what_a_daemon_does(tmp_path: Path) -> None:
    require("etcd")
    made = [line for line in PAGE.splitlines() if line.startswith("etcdctl ")]
    told = re.findall(r"`(LEADERD_STORE_AUTH_\w+=[^`]+)`", PAGE)
    assert (len(made), len(told)) == (4, 2)
    secret = tmp_path / "etcd-password"
    secret.touch(0o600)
    secret.write_text("between-us\n")
    etcdctl = Path(installed("etcd").programs["etcdctl"])
    with EtcdCluster(nodes=1) as cluster:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("LEADERD_", "ETCD"))}
        environ |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{etcdctl.parent}:{environ['PATH']}"}
        environ |= {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": cluster.endpoints[0], "LEADERD_RUNTIME_DIR": str(tmp_path / "run")}
        environ["LEADERD_STORE_URL"] = cluster.url("leaderd")
        script = "\n".join(["set -eu", *made, *(f"export {each}" for each in told), AS_A_USER])
        done = subprocess.run(["bash", "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=80)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_block_is_run() -> None:
    fences = re.findall(r"^```(.*)\n(?:.*\n)*?```$", PAGE, re.MULTILINE)
    assert fences.count("sh") == len(fences) >= 11
