"""TLS material: what must be trusted is, what must not be is not, by openssl and by cryptography alike, on real servers."""

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, require, tls
from testbed.tls import TlsFiles


@pytest.fixture(params=["openssl", "cryptography"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TlsFiles:
    """Certificates made in one of the two ways."""
    if request.param == "cryptography":
        pytest.importorskip("cryptography")
        monkeypatch.setattr(tls.shutil, "which", lambda name: None)
    elif shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    return tls.make(tmp_path / "certificates")


def handshake(files: TlsFiles, server: str, client: str | None, ca: Path, name: str = "127.0.0.1") -> str:
    """Shake hands in memory, the server demanding a client certificate; returns 'ok' or why not."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*files.pair(server))
    serving.load_verify_locations(files.ca)
    serving.verify_mode = ssl.CERT_REQUIRED
    calling = ssl.create_default_context(cafile=str(ca))
    if client is not None:
        calling.load_cert_chain(*files.pair(client))
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    ends = [
        calling.wrap_bio(pipes[0], pipes[1], server_hostname=name),
        serving.wrap_bio(pipes[2], pipes[3], server_side=True),
    ]
    done = [False, False]
    for _ in range(10):
        for side in (0, 1):
            try:
                ends[side].do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return f"{'client' if side == 0 else 'server'}: {error}"
            pipes[2 if side == 0 else 0].write(pipes[1 if side == 0 else 3].read())
        if all(done):
            return "ok"
    return "no end"


def test_who_trusts_whom(files: TlsFiles) -> None:
    assert handshake(files, "server", "client", files.ca) == "ok"
    assert handshake(files, "server", "client", files.ca, "localhost") == "ok"
    assert "IP address mismatch" in handshake(files, "server", "client", files.ca, "192.0.2.1")
    assert "certificate has expired" in handshake(files, "expired-server", "client", files.ca)
    assert "client: " in handshake(files, "other-server", "client", files.ca)
    assert "client: " in handshake(files, "server", "client", files.other_ca)
    assert "certificate has expired" in handshake(files, "server", "expired-client", files.ca)
    assert "server: " in handshake(files, "server", "other-client", files.ca)
    assert "server: " in handshake(files, "server", None, files.ca)


def test_keys_are_private_and_variants_are_named(files: TlsFiles) -> None:
    assert {path.stat().st_mode & 0o777 for path in files.folder.glob("*.key")} == {0o600}
    assert files.with_server("expired-server").server_cert.name == "expired-server.crt"
    assert files.with_client("other-client").client_key.name == "other-client.key"
    with pytest.raises(ValueError, match="no pair 'nobody'"):
        files.pair("nobody")


def test_without_either_tool_there_is_one_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls.shutil, "which", lambda name: None)
    monkeypatch.setattr(tls.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tls.TlsError, match="openssl on PATH"):
        tls.make(tmp_path)


@pytest.mark.servers
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("make", "version"),
    [(EtcdCluster, "3.5"), (EtcdCluster, "3.4"), (ZooKeeperCluster, "3.9"), (ZooKeeperCluster, "3.8"), (ConsulCluster, "1.8")],
    ids=lambda value: getattr(value, "kind", value),
)
@pytest.mark.parametrize("server", ["server", "expired-server", "other-server"])
def test_servers_show_the_certificate_they_are_given(
    make: type[EtcdCluster | ZooKeeperCluster | ConsulCluster], version: str, server: str, tmp_path: Path
) -> None:
    require(make.kind, version)
    files = tls.make(tmp_path / "certificates")
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.client_cert, files.client_key)
    with make(1, version, tmp_path / "cluster", tls=files.with_server(server)) as cluster:
        assert cluster.url("x").startswith(f"{make.kind}s://127.0.0.1:")
        assert cluster.leader_index() == 0
        host, port = cluster.endpoints[0].split(":")
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            if server == "server":
                with context.wrap_socket(plain, server_hostname=host) as wrapped:
                    assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    context.wrap_socket(plain, server_hostname=host)
        if isinstance(cluster, EtcdCluster) and server == "server":
            cluster.put("a", "b")
            assert cluster.get("a")[0].value == "b"
