"""Consul clusters of servers, each with its own HTTP API, and the admin calls tests need."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed import fetch
from testbed.cluster import Cluster, View, Wrap
from testbed.http import HttpError, Json, request
from testbed.tls import TlsFiles

MASTER_TOKEN = "5e1f0e6c-5d52-4c83-9c1f-7a3d4b0f9a11"


class ConsulCluster(Cluster):
    """One or three Consul servers. With `acl` everything is denied by default and `MASTER_TOKEN` may do everything.

    `session_ttl_min` lowers the shortest session TTL servers accept (10 s by default): tests that wait for an expiry
    are faster with "2s". Autopilot leaves dead servers in the quorum, so that a healed partition counts at once.
    """

    kind: ClassVar[str] = "consul"
    ports_per_node: ClassVar[int] = 4

    def __init__(
        self,
        nodes: int = 1,
        version: str = "1.8",
        workdir: Path | str | None = None,
        *,
        session_ttl_min: str | None = None,
        acl: bool = False,
        raft_multiplier: int = 1,
        tls: TlsFiles | None = None,
        client_cert_auth: bool = True,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        hosts: Sequence[str] | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        """Describe the cluster. With `tls` clients use a second, HTTPS-only port. Top-level keys of `config` win.

        Raises `FetchError` when that version is not on this machine.
        """
        super().__init__(nodes, version, workdir, hosts=hosts, wrap=wrap, env=env)
        self.acl = acl
        self.tls = tls
        self._session_ttl_min = session_ttl_min
        self._raft_multiplier = raft_multiplier
        self._client_cert_auth = client_cert_auth
        self._config = dict(config or {})
        self._program = fetch.installed("consul", version).programs["consul"]

    def _scheme(self) -> str:
        return "consuls" if self.tls else "consul"

    def _client_port(self, index: int) -> int:
        return self._port(index, 3 if self.tls else 0)

    def _prepare(self, index: int) -> None:
        settings = {**self._settings(index), **self._config}
        path = self.folder(index) / "consul.json"
        path.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def _settings(self, index: int) -> dict[str, Any]:
        host = self.hosts[index]
        settings: dict[str, Any] = {
            "server": True,
            "node_name": f"node{index}",
            "datacenter": "testbed",
            "data_dir": str(self.folder(index) / "data"),
            "bind_addr": host,
            "client_addr": host,
            "bootstrap_expect": self.nodes,
            "retry_join": [f"{h}:{self._port(i, 2)}" for i, h in enumerate(self.hosts) if i != index],
            "retry_interval": "1s",
            "rejoin_after_leave": True,
            "disable_update_check": True,
            "performance": {"raft_multiplier": self._raft_multiplier},
            "autopilot": {"cleanup_dead_servers": False, "server_stabilization_time": "1s"},
            "ports": {
                "http": self._port(index, 0),
                "server": self._port(index, 1),
                "serf_lan": self._port(index, 2),
                "https": self._port(index, 3) if self.tls else -1,
                "serf_wan": -1,
                "dns": -1,
                "grpc": -1,
            },
        }
        if self._session_ttl_min is not None:
            settings["session_ttl_min"] = self._session_ttl_min
        if self.acl:
            settings["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "tokens": {"master": MASTER_TOKEN, "agent": MASTER_TOKEN},
            }
        if self.tls is not None:
            settings |= {
                "ca_file": str(self.tls.ca),
                "cert_file": str(self.tls.server_cert),
                "key_file": str(self.tls.server_key),
                "verify_incoming_https": self._client_cert_auth,
            }
        return settings

    def _command(self, index: int) -> list[str]:
        return [self._program, "agent", f"-config-file={self.folder(index) / 'consul.json'}"]

    def _view(self, index: int) -> View | None:
        try:
            stats = self.api("GET", "/v1/agent/self", node=index, timeout=1.5)["Stats"]
            address = stats["consul"]["leader_addr"]
            leader = [f"{host}:{self._port(i, 1)}" for i, host in enumerate(self.hosts)].index(address)
            return View(int(stats["raft"]["term"]), leader)
        except (OSError, HttpError, KeyError, ValueError):
            return None

    def _is_ready(self) -> bool:
        """A session needs its node in the catalogue with a passing serf check, which comes after the leader.

        And a node that has just come back has to be a voter again, or the next one that goes takes the quorum with it.
        """
        wanted = {f"node{i}" for i in self.serving}
        try:
            servers = self.api("GET", "/v1/operator/raft/configuration", node=self.serving[0], timeout=1.5)["Servers"]
            if not {server["Node"] for server in servers if server["Voter"]} >= wanted:
                return False
            for index in self.serving:
                checks = self.api("GET", "/v1/health/state/passing", node=index, timeout=1.5)
                alive = {check["Node"] for check in checks if check["CheckID"] == "serfHealth"}
                if not alive >= wanted:
                    return False
        except (OSError, HttpError, KeyError, ValueError):
            return False
        return True

    # Admin calls

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        node: int | None = None,
        token: str | None = None,
        timeout: float = 5.0,
    ) -> Json:
        """Call the HTTP API of a node (the first serving one) and return its JSON answer, or None for an empty one.

        With the master token when ACLs are on, unless `token` says otherwise. Raises `HttpError` and `OSError`.
        """
        index = self.serving[0] if node is None else node
        token = token if token is not None else (MASTER_TOKEN if self.acl else None)
        text = request(
            method,
            f"http://{self.hosts[index]}:{self._port(index, 0)}{path}",
            body=body,
            headers={"X-Consul-Token": token} if token else None,
            timeout=timeout,
        )
        return json.loads(text) if text.strip() else None

    def kv_put(self, key: str, value: str) -> None:
        """Write a key."""
        self.api("PUT", f"/v1/kv/{urllib.parse.quote(key)}", value.encode())

    def kv_get(self, key: str) -> dict[str, Any] | None:
        """The key's entry (Session, LockIndex, ModifyIndex ...; Value decoded to text), None if there is none."""
        try:
            entry: dict[str, Any] = self.api("GET", f"/v1/kv/{urllib.parse.quote(key)}?consistent")[0]
        except HttpError as error:
            if error.status == 404:
                return None
            raise
        entry["Value"] = base64.b64decode(entry["Value"] or "").decode()
        return entry

    def kv_delete(self, key: str, *, prefix: bool = False) -> None:
        """Delete a key, or all keys starting with it."""
        self.api("DELETE", f"/v1/kv/{urllib.parse.quote(key)}" + ("?recurse" if prefix else ""))

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions: ID, Name, Node, TTL, Behavior, LockDelay."""
        found: list[dict[str, Any]] = self.api("GET", "/v1/session/list?consistent")
        return found

    def session_destroy(self, session: str) -> None:
        """End a session now; the locks it holds go, subject to their lock delay."""
        self.api("PUT", f"/v1/session/destroy/{session}")

    def acl_token(self, rules: str) -> str:
        """Make a token with a policy of these rules (HCL) and return its secret."""
        policy = self.api("PUT", "/v1/acl/policy", {"Name": f"policy-{abs(hash(rules)):x}", "Rules": rules})
        token = self.api("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
        return str(token["SecretID"])
