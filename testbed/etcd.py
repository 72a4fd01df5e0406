"""etcd clusters, with TLS and authentication when asked for, and the few admin commands tests need, through etcdctl."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from testbed import fetch
from testbed.cluster import Cluster, View, Wrap
from testbed.http import HttpError, Json, request
from testbed.tls import TlsFiles

ROOT_PASSWORD = "root-password"


class EtcdError(RuntimeError):
    """etcdctl failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class EtcdUser:
    """A user who may read and write the keys under `prefix`."""

    name: str
    password: str
    prefix: str


@dataclass(frozen=True, slots=True)
class EtcdKey:
    """A key as the store holds it. `create_revision` is leaderd's fencing token; `lease` is 0 for a key without one."""

    key: str
    value: str
    create_revision: int
    mod_revision: int
    lease: int


class EtcdCluster(Cluster):
    """One or three etcd members. `auth` is a list of users and turns authentication on (root: `ROOT_PASSWORD`)."""

    kind: ClassVar[str] = "etcd"
    ports_per_node: ClassVar[int] = 3
    stop_grace_s: ClassVar[float] = 0.3  # a leader told to end tries for seconds to hand over to members that end too

    def __init__(
        self,
        nodes: int = 1,
        version: str = "3.5",
        workdir: Path | str | None = None,
        *,
        tls: TlsFiles | None = None,
        client_cert_auth: bool = True,
        auth: Sequence[EtcdUser] | None = None,
        heartbeat_ms: int = 100,
        election_ms: int = 1000,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        hosts: Sequence[str] | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        """Describe the cluster. Raises `FetchError` when that version is not on this machine."""
        super().__init__(nodes, version, workdir, hosts=hosts, wrap=wrap, env=env)
        self.tls = tls
        self.auth = list(auth) if auth is not None else None
        self._client_cert_auth = client_cert_auth
        self._timing = (heartbeat_ms, election_ms)
        self._extra_args = list(extra_args)
        self._programs = fetch.installed("etcd", version).programs
        self._auth_is_on = False

    # Cluster

    def _scheme(self) -> str:
        return "etcds" if self.tls else "etcd"

    def _client_port(self, index: int) -> int:
        return self._port(index, 0)

    def _prepare(self, index: int) -> None:
        self._auth_is_on = False

    def _command(self, index: int) -> list[str]:
        peers = [f"http://{host}:{self._port(i, 1)}" for i, host in enumerate(self.hosts)]
        client = self._base(index)
        heartbeat_ms, election_ms = self._timing
        command = [
            self._programs["etcd"],
            f"--name=node{index}",
            f"--data-dir={self.folder(index) / 'data'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-metrics-urls=http://{self.hosts[index]}:{self._port(index, 2)}",  # health without TLS
            f"--listen-peer-urls={peers[index]}",
            f"--initial-advertise-peer-urls={peers[index]}",
            "--initial-cluster=" + ",".join(f"node{i}={peer}" for i, peer in enumerate(peers)),
            f"--initial-cluster-token=testbed-{self._port(0, 1)}",
            "--initial-cluster-state=new",
            f"--heartbeat-interval={heartbeat_ms}",
            f"--election-timeout={election_ms}",
            "--logger=zap",
            "--log-outputs=stderr",
        ]
        if self.tls:
            command += [f"--cert-file={self.tls.server_cert}", f"--key-file={self.tls.server_key}"]
            if self._client_cert_auth:
                command += ["--client-cert-auth", f"--trusted-ca-file={self.tls.ca}"]
        return command + self._extra_args

    def _view(self, index: int) -> View | None:
        """Health needs a quorum read, so a deposed leader that has not noticed is not asked what it believes."""
        base = f"http://{self.hosts[index]}:{self._port(index, 2)}"
        try:
            if json.loads(request("GET", base + "/health", timeout=1.5)).get("health") != "true":
                return None
            leads = "\netcd_server_is_leader 1\n" in request("GET", base + "/metrics", timeout=1.5)
        except (OSError, HttpError, ValueError):
            return None
        return View(0, index if leads else None)

    def _base(self, index: int) -> str:
        return f"{'https' if self.tls else 'http'}://{self.hosts[index]}:{self._client_port(index)}"

    def _after_start(self) -> None:
        if self.auth is None:
            return
        self.user_add("root", ROOT_PASSWORD)
        self.ctl("role", "add", "root")
        self.ctl("user", "grant-role", "root", "root")
        for user in self.auth:
            self.user_add(user.name, user.password)
            self.role_add(f"{user.name}-role", user.prefix)
            self.user_grant(user.name, f"{user.name}-role")
        self.auth_enable()

    # Admin commands

    def ctl(self, *arguments: str, node: int | None = None, user: str | None = None, timeout: float = 10.0) -> str:
        """Run etcdctl against all serving nodes (or one) and return what it printed. Raises `EtcdError`.

        As root when authentication is on, unless `user` ("name:password") says otherwise.
        """
        nodes = [node] if node is not None else self.serving
        command = [self._programs["etcdctl"], "--endpoints=" + ",".join(self._base(index) for index in nodes)]
        if self.tls:
            command += [f"--cacert={self.tls.ca}", f"--cert={self.tls.client_cert}", f"--key={self.tls.client_key}"]
        if user is None and self._auth_is_on:
            user = f"root:{ROOT_PASSWORD}"
        if user is not None:
            command.append(f"--user={user}")
        try:
            done = subprocess.run(
                [*command, *arguments],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=timeout,
                env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            )
        except subprocess.TimeoutExpired as error:
            raise EtcdError(f"etcdctl {arguments[0]}: no answer within {timeout:g} s") from error
        if done.returncode != 0:
            raise EtcdError(f"etcdctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def ctl_json(self, *arguments: str, node: int | None = None, user: str | None = None) -> Json:
        """Run etcdctl and return its answer as JSON. Keys and values in it are base64."""
        return json.loads(self.ctl("--write-out=json", *arguments, node=node, user=user))

    def put(self, key: str, value: str, lease: int | None = None) -> int:
        """Write a key and return the revision of the write."""
        attach = [f"--lease={lease:x}"] if lease is not None else []
        return int(self.ctl_json("put", *attach, "--", key, value)["header"]["revision"])

    def put_bytes(self, key: str, value: bytes) -> None:
        """Write a key whose value is too long for a command line, or no text."""
        body = {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value).decode()}
        request("POST", f"{self._base(self.serving[0])}/v3/kv/put", body=body, timeout=10.0)

    def get(self, key: str, *, prefix: bool = False) -> list[EtcdKey]:
        """The key, or all keys starting with it, by create revision: under an election the first is the leader."""
        found = self.ctl_json("get", *(["--prefix"] if prefix else []), "--", key).get("kvs", [])
        keys = [
            EtcdKey(
                key=base64.b64decode(kv["key"]).decode(),
                value=base64.b64decode(kv.get("value", "")).decode("utf-8", "surrogateescape"),
                create_revision=int(kv["create_revision"]),
                mod_revision=int(kv["mod_revision"]),
                lease=int(kv.get("lease", 0)),
            )
            for kv in found
        ]
        return sorted(keys, key=lambda entry: entry.create_revision)

    def delete(self, key: str, *, prefix: bool = False) -> int:
        """Delete the key, or all keys starting with it; returns how many there were."""
        return int(self.ctl_json("del", *(["--prefix"] if prefix else []), "--", key).get("deleted", 0))

    def lease_grant(self, ttl_s: int) -> int:
        """Grant a lease and return its id."""
        return int(self.ctl_json("lease", "grant", str(ttl_s))["ID"])

    def lease_list(self) -> list[int]:
        """The ids of all leases."""
        return [int(lease["id"]) for lease in self.ctl_json("lease", "list").get("leases") or []]

    def lease_revoke(self, lease: int) -> None:
        """End a lease now; its keys go with it."""
        self.ctl("lease", "revoke", f"{lease:x}")

    def user_add(self, name: str, password: str) -> None:
        """Add a user."""
        self.ctl("user", "add", f"{name}:{password}")

    def role_add(self, name: str, prefix: str, permission: str = "readwrite") -> None:
        """Add a role with a permission on every key starting with `prefix`."""
        self.ctl("role", "add", name)
        self.ctl("role", "grant-permission", name, "--prefix=true", permission, prefix)

    def user_grant(self, name: str, role: str) -> None:
        """Give a role to a user."""
        self.ctl("user", "grant-role", name, role)

    def auth_enable(self) -> None:
        """Turn authentication on; from now on `ctl` is root. A root user with the root role must exist."""
        self.ctl("auth", "enable")
        self._auth_is_on = True

    def auth_disable(self) -> None:
        """Turn authentication off."""
        self.ctl("auth", "disable")
        self._auth_is_on = False

    def alarm_activate(self) -> None:
        """Raise NOSPACE, as a member whose quota is used up does: writes are refused until `alarm_disarm`."""
        index = self.serving[0]
        member = self.ctl_json("endpoint", "status", node=index)[0]["Status"]["header"]["member_id"]
        body = {"action": "ACTIVATE", "memberID": str(member), "alarm": "NOSPACE"}
        request("POST", f"{self._base(index)}/v3/maintenance/alarm", body=body)

    def alarm_disarm(self) -> None:
        """Take all alarms back."""
        self.ctl("alarm", "disarm")

    def takes_writes(self) -> bool:
        """Whether a write is taken now."""
        try:
            self.put("testbed-written", "")
        except EtcdError:
            return False
        return True
