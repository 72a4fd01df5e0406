"""ZooKeeper ensembles (one JVM per node) and the four-letter words tests look at them with."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from testbed import fetch
from testbed.cluster import Cluster, View, Wrap
from testbed.tls import TlsFiles

_JVM = ("-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto")
_MODE = re.compile(r"^Mode: (\w+)", re.MULTILINE)
_ZXID = re.compile(r"^Zxid: 0x([0-9a-f]+)", re.MULTILINE)


class ZooKeeperCluster(Cluster):
    """A ZooKeeper ensemble; one node runs standalone.

    Sessions are negotiated into [2, 20] ticks unless `config` says otherwise (`minSessionTimeout`, `maxSessionTimeout`).
    `container_check_ms` is how often empty container nodes, such as Curator's parents, are removed (default 60 s).
    """

    kind: ClassVar[str] = "zookeeper"
    ports_per_node: ClassVar[int] = 4

    def __init__(
        self,
        nodes: int = 1,
        version: str = "3.9",
        workdir: Path | str | None = None,
        *,
        tick_time_ms: int = 500,
        init_limit: int = 20,
        sync_limit: int = 4,
        container_check_ms: int | None = None,
        tls: TlsFiles | None = None,
        client_auth: str = "need",
        config: Mapping[str, str | int] | None = None,
        jvm_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        hosts: Sequence[str] | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        """Describe the ensemble. With `tls` clients use a second, TLS-only port; `client_auth` is none, want or need.

        Raises `FetchError` when that version, or Java, is not on this machine.
        """
        super().__init__(nodes, version, workdir, hosts=hosts, wrap=wrap, env=env)
        self.tick_time_ms = tick_time_ms
        self.tls = tls
        self._installed = fetch.installed("zookeeper", version)
        self._java = fetch.java() or "java"
        self._properties: dict[str, str] = {
            "zookeeper.admin.enableServer": "false",
            # A follower tries a new leader five times, and then waits for initLimit until that one gives up, too: 10 s without a
            # leader (seen on 3.9) where a busy machine has its JVM open the port half a second late.
            "zookeeper.leaderConnectDelayDuringRetryMs": "500",
        }
        if container_check_ms is not None:
            self._properties["znode.container.checkIntervalMs"] = str(container_check_ms)
        if tls is not None:
            self._properties |= {
                "zookeeper.serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
                "zookeeper.ssl.hostnameVerification": "false",  # of clients by their address, which none has
            }
        self._client_auth = client_auth
        self._jvm_args = list(jvm_args)
        self._config: dict[str, str | int] = {
            "tickTime": tick_time_ms,
            "initLimit": init_limit,
            "syncLimit": sync_limit,
            "maxClientCnxns": 0,
            "4lw.commands.whitelist": "*",
            "admin.enableServer": "false",
            **(config or {}),
        }

    def _scheme(self) -> str:
        return "zookeepers" if self.tls else "zookeeper"

    def _client_port(self, index: int) -> int:
        return self._port(index, 3 if self.tls else 0)

    def plain_endpoint(self, index: int) -> str:
        """`host:port` without TLS, which stays open for the four-letter words and the Curator selector."""
        return f"{self.hosts[index]}:{self._port(index, 0)}"

    def _prepare(self, index: int) -> None:
        data = self.folder(index) / "data"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{index + 1}\n", encoding="ascii")
        settings: dict[str, str | int] = {
            "dataDir": str(data),
            "clientPort": self._port(index, 0),
            "clientPortAddress": self.hosts[index],
            **self._config,
        }
        if self.tls is not None:
            settings |= self._tls_settings(self.tls, index)
        if self.nodes > 1:
            for i, host in enumerate(self.hosts):
                settings[f"server.{i + 1}"] = f"{host}:{self._port(i, 1)}:{self._port(i, 2)}"
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.folder(index) / "zoo.cfg").write_text(text, encoding="utf-8")

    def _tls_settings(self, tls: TlsFiles, index: int) -> dict[str, str | int]:
        """The secure port. A PEM key store is the certificate and its key in one file."""
        store = self.folder(index) / "server.pem"
        store.write_text(tls.server_cert.read_text() + tls.server_key.read_text(), encoding="ascii")
        return {
            "secureClientPort": self._port(index, 3),
            "secureClientPortAddress": self.hosts[index],
            "ssl.keyStore.location": str(store),
            "ssl.keyStore.type": "PEM",
            "ssl.trustStore.location": str(tls.ca),
            "ssl.trustStore.type": "PEM",
            "ssl.clientAuth": self._client_auth,
        }

    def _command(self, index: int) -> list[str]:
        return [
            self._java,
            *_JVM,
            *(f"-D{key}={value}" for key, value in self._properties.items()),
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            *self._jvm_args,
            "-cp",
            ":".join(self._installed.jars),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.folder(index) / "zoo.cfg"),
        ]

    def _view(self, index: int) -> View | None:
        try:
            text = self.four_letter_word(index, "srvr")
        except OSError:
            return None
        mode, zxid = _MODE.search(text), _ZXID.search(text)
        if mode is None or zxid is None:
            return None  # "This ZooKeeper instance is not currently serving requests"
        epoch = int(zxid.group(1), 16) >> 32
        if mode.group(1) in ("leader", "standalone"):
            return View(epoch, index)
        return View(epoch, None)

    def _is_ready(self) -> bool:
        return self.tls is None or all(self._accepts(index) for index in self.serving)

    def _accepts(self, index: int) -> bool:
        """Whether the port with TLS, which is opened after the other, is open."""
        try:
            with socket.create_connection((self.hosts[index], self._port(index, 3)), timeout=1.5):
                return True
        except OSError:
            return False

    # Four-letter words

    def four_letter_word(self, index: int, word: str, timeout: float = 1.5) -> str:
        """Send a four-letter word (`ruok`, `srvr`, `mntr`, `dump`, `cons`, `wchp` ...) to one node, return its answer."""
        address = (self.hosts[index], self._port(index, 0))
        with socket.create_connection(address, timeout=timeout) as connection:
            connection.sendall(word.encode("ascii"))
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode("utf-8", "replace")

    def ruok(self, index: int) -> bool:
        """Whether the node answers at all; it may serve nobody."""
        return self.four_letter_word(index, "ruok") == "imok"

    def srvr(self, index: int) -> dict[str, str]:
        """The node's `srvr` answer: Mode, Zxid, Connections, Outstanding and so on."""
        return _pairs(self.four_letter_word(index, "srvr"), ":")

    def mntr(self, index: int) -> dict[str, str]:
        """The node's `mntr` metrics: zk_server_state, zk_ephemerals_count, zk_synced_followers and so on."""
        return _pairs(self.four_letter_word(index, "mntr"), "\t")

    def ephemerals(self, index: int) -> dict[int, list[str]]:
        """The ephemeral nodes of each session, from `dump`; ask the leader (or a standalone node)."""
        found: dict[int, list[str]] = {}
        session: int | None = None
        _, _, rest = self.four_letter_word(index, "dump").partition("Sessions with Ephemerals")
        for line in rest.splitlines():
            if line.startswith("\t") and session is not None:
                found[session].append(line.strip())
            elif match := re.match(r"0x([0-9a-f]+):", line):
                session = int(match.group(1), 16)
                found[session] = []
            elif found:
                break  # the next section of the dump
        return found


def _pairs(text: str, separator: str) -> dict[str, str]:
    lines = (line.partition(separator) for line in text.splitlines())
    return {key.strip(): value.strip() for key, found, value in lines if found}


def session_password(session: int) -> bytes:
    """With which anybody may join a session: ZooKeeperServer.generatePasswd seeds java.util.Random by its id and a constant."""
    mask = (1 << 48) - 1
    seed = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & mask
    password = b""
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & mask
        password += (seed >> 16 & 0xFFFFFFFF).to_bytes(4, "little")
    return password
