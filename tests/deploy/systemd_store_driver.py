"""Runs in the box as `systemd_driver` does: the unit with a real store of the test bed, whose secret comes by LoadCredential.

`python systemd_store_driver.py RESULT KIND`; the result is one JSON object.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path

from testbed import Cluster, ConsulCluster, EtcdCluster, EtcdUser, ZooKeeperCluster
from tests.deploy.systemd_driver import CONFIG, ask, leads, process, show, systemctl, until, write_down

SECRET = CONFIG.parent / "secrets" / "store-password"
RENEWALS = re.compile(r"^leaderd_renew_duration_seconds_count (\S+)$", re.MULTILINE)


def started(kind: str) -> tuple[Cluster, str]:
    """A store that lets nobody in without the secret (ZooKeeper: that knows a user by it), and the secret."""
    if kind == "etcd":
        return EtcdCluster(auth=[EtcdUser("leaderd", "by-credential", "leaderd/")]).start(), "by-credential"
    if kind == "zookeeper":
        # Java loses its way in the box's control groups.
        return ZooKeeperCluster(jvm_args=["-XX:-UseContainerSupport"]).start(), "by-credential"
    cluster = ConsulCluster(acl=True).start()
    return cluster, cluster.acl_token('key_prefix "leaderd/" { policy = "write" } session_prefix "" { policy = "write" }')


def renewals() -> float:
    found = RENEWALS.search(ask("/metrics")[1])
    return float(found.group(1)) if found else 0.0


def drive(kind: str) -> dict[str, object]:
    with ExitStack() as stack:
        cluster, secret = started(kind)
        stack.callback(cluster.stop)
        SECRET.parent.mkdir()
        SECRET.write_text(secret + "\n")
        SECRET.chmod(0o600)
        store = f"store: {{url: '{cluster.url('leaderd')}'}}\ntiming: {{ttl: 10s, renew_every: 500ms}}\n"
        CONFIG.write_text(store + "elections: [{name: jobs}]\nlisten: {http: off, ops: off, grpc: 'unix:'}\n")
        seen: dict[str, object] = {"start": systemctl("start", "leaderd"), "leads": until(leads, 30)}
        seen["renews"] = until(lambda: renewals() >= 5, 30)
        seen["answer"] = json.loads(ask("/is-leader?promise=0")[1])
        seen["process"] = process()
        seen["grpc"] = Path("/run/leaderd/grpc.sock").is_socket()
        seen["mounts"] = Path(f"/proc/{show('MainPID')['MainPID']}/mounts").read_text()
        seen["restarts"] = show("NRestarts")["NRestarts"]
        seen["stop"], seen["after_stop"] = systemctl("stop", "leaderd"), show("Result", "ExecMainStatus", "ActiveState")
        return seen


if __name__ == "__main__":
    write_down(lambda: drive(sys.argv[2]), Path(sys.argv[1]))
