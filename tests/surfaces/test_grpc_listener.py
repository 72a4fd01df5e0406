"""Where gRPC listens: the socket's file, TCP, TLS with real certificates, who calls by the kernel's word, and who says nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from leaderd.surfaces.grpc import GrpcTls, doorman, server
from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb
from leaderd.surfaces.http import ListenError, UnixAddress
from testbed import tls
from tests.surfaces import raw_grpc as raw
from tests.surfaces.grpc_rig import MEANT, SERVICE, GrpcRig, grpc_surface, refusal
from tests.surfaces.raw_grpc import RawClient
from tests.surfaces.rig import PATIENCE_S, leading, snapshot

CODE = grpc.StatusCode
LOOPBACK = ("127.0.0.1", 0)
RESIGN = pb.ResignRequest().SerializeToString()
GET = pb.GetElectionRequest().SerializeToString()


def own_address() -> str | None:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.9", 9))  # sends nothing
        except OSError:
            return None
        found: str = probe.getsockname()[0]
        return None if found.startswith("127.") else found


# ---- the socket's file


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_mode_and_group_of_the_socket(tmp_path: Path, mode: int) -> None:
    group = max(os.getgroups(), default=os.getegid())
    path = tmp_path / "run" / "grpc.sock"
    async with grpc_surface(tmp_path, snapshot(leading()), address=UnixAddress(path, mode, group)) as rig:
        found = path.lstat()
        assert (stat.S_ISSOCK(found.st_mode), stat.S_IMODE(found.st_mode), found.st_gid) == (True, mode, group)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["run"], "grpc's own socket has no name anywhere"
        assert (await rig.get()).election.leader
    assert not path.exists()


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "grpc.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        assert (await rig.get()).election.leader
        second = GrpcRig(tmp_path, snapshot(leading()))
        with pytest.raises(ListenError, match=r"--grpc: another program answers at .*grpc\.sock"):
            await second.open()
        assert (await rig.get()).election.leader


AS_NOBODY = "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setgroups([]); os.setresgid(65534, 65534, 65534); \
os.setresuid(65534, 65534, 65534); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); s.settimeout(10)\n\
data = b''\n\
while b'grpc-status' not in data or b'grpc-message' not in data: data += s.recv(65536)\n\
sys.stdout.buffer.write(data)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_user_reads_and_changes_nothing(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp())  # where others may pass, unlike pytest's own
    place.chmod(0o755)
    sent = raw.PREFACE + raw.frame(raw.SETTINGS) + raw.call(1, f"{SERVICE}Resign", pb.ResignRequest(), *MEANT)
    try:
        async with grpc_surface(tmp_path, snapshot(leading()), address=UnixAddress(place / "run" / "s", 0o666)) as rig:
            command = [sys.executable, "-c", AS_NOBODY, rig.surface.address]
            done = await asyncio.to_thread(subprocess.run, command, input=sent, capture_output=True, timeout=PATIENCE_S)
            assert b"user 65534 is not among operators.uids" in done.stdout, done.stderr
            assert rig.actions.asked == []
            await rig.call(f"{SERVICE}Resign", pb.ResignRequest(), MEANT)  # we ourselves may
            assert len(rig.actions.asked) == 1
    finally:
        shutil.rmtree(place)


# ---- TCP


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
async def test_loopback_may_change_things(tmp_path: Path, host: str) -> None:
    try:
        async with grpc_surface(tmp_path, snapshot(leading()), address=(host, 0)) as rig:
            address = rig.surface.address
            target = f"[{address[0]}]:{address[1]}" if ":" in address[0] else rig.target
            async with grpc.aio.insecure_channel(target) as channel:
                await channel.unary_unary(f"{SERVICE}Resign")(RESIGN, metadata=MEANT, timeout=PATIENCE_S)
            assert len(rig.actions.asked) == 1
    except ListenError:
        assert host == "::1", "every machine has IPv4's loopback"


async def test_a_taken_port_names_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(LOOPBACK)
        other.listen()
        with pytest.raises(ListenError, match="another program listens there: stop it, or set --grpc to another port or to off"):
            await GrpcRig(tmp_path, snapshot(leading())).open(address=other.getsockname())


BROWSER = [
    b"POST /leaderd.v1.ElectionService/Resign HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/grpc\r\n"
    b"X-Leaderd-Request: 1\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + raw.PREFACE + raw.frame(raw.SETTINGS),
    b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 300\r\n\r\n"
    + raw.PREFACE
    + raw.frame(raw.SETTINGS)
    + raw.call(1, f"{SERVICE}Resign", pb.ResignRequest(), *MEANT),
]


@pytest.mark.parametrize("sent", BROWSER, ids=["http1", "upgrade", "smuggled"])
async def test_nothing_that_a_browser_can_send_without_tls_is_a_call(tmp_path: Path, sent: bytes) -> None:
    """Why `:authority` needs no list of hosts (docs/grpc.md): whoever can make a call at all is no browser."""
    async with grpc_surface(tmp_path, snapshot(leading()), address=LOOPBACK) as rig:
        client = RawClient(*await asyncio.open_connection(*rig.surface.address))
        client.send(sent)
        await client.end()
        await client.close()
        assert rig.actions.asked == []
        assert rig.promised() == []


async def test_the_name_in_authority_decides_nothing(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading()), address=LOOPBACK) as rig:
        options = [("grpc.default_authority", "evil.example")]
        async with grpc.aio.insecure_channel(rig.target, options=options) as channel:
            resign = channel.unary_unary(f"{SERVICE}Resign")
            assert (await refusal(resign(RESIGN, timeout=PATIENCE_S)))[0] is CODE.PERMISSION_DENIED
            await resign(RESIGN, metadata=MEANT, timeout=PATIENCE_S)


# ---- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tls.TlsFiles:
    reason = tls.available()
    if reason is not None:
        pytest.skip(reason)
    return tls.make(tmp_path_factory.mktemp("tls"), tuple(filter(None, (*tls.HOSTS, own_address()))))


@pytest.fixture
def files(certificates: tls.TlsFiles, tmp_path: Path) -> GrpcTls:
    """Our own copies, which may be replaced."""
    found = GrpcTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(certificates, found, "server")
    return found


def put(certificates: tls.TlsFiles, files: GrpcTls, name: str) -> None:
    for source, target in zip(certificates.pair(name), files[:2], strict=True):
        shutil.copyfile(source, target)


async def got(rig: GrpcRig, ca: Path, pair: tuple[Path, Path] | None = None, host: str | None = None) -> Any:
    """The answer to a question over TLS; raises what grpc raises."""
    cert, key = (pair[0].read_bytes(), pair[1].read_bytes()) if pair is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key, cert)
    target = rig.target if host is None else f"{host}:{rig.surface.address[1]}"
    async with grpc.aio.secure_channel(target, credentials) as channel:
        reply = await channel.unary_unary(f"{SERVICE}GetElection")(GET, timeout=PATIENCE_S)
        return pb.GetElectionResponse.FromString(reply).election


async def test_tls_is_spoken_and_nothing_else(tmp_path: Path, certificates: tls.TlsFiles, files: GrpcTls) -> None:
    async with grpc_surface(tmp_path, snapshot(leading()), address=LOOPBACK, tls=files) as rig:
        assert (await got(rig, certificates.ca)).leader
        assert (await refusal(got(rig, certificates.other_ca)))[0] is CODE.UNAVAILABLE
        assert (await refusal(rig.get()))[0] is CODE.UNAVAILABLE
        # Nothing of it is given back: nobody sees what the client says within TLS.
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        async with grpc.aio.secure_channel(rig.target, credentials) as channel:
            request = pb.HoldTermRequest(promise=Duration(seconds=5)).SerializeToString()
            call = channel.unary_stream(f"{SERVICE}HoldTerm")(request)
            await call.read()
            call.cancel()
            await rig.no_streams_left()
        assert rig.ledgers["daily-report"].until_s == 105.0


async def test_clients_show_a_certificate_where_they_must(tmp_path: Path, certificates: tls.TlsFiles, files: GrpcTls) -> None:
    files = files._replace(client_ca_file=certificates.ca)
    async with grpc_surface(tmp_path, snapshot(leading()), address=LOOPBACK, tls=files) as rig:
        assert (await got(rig, certificates.ca, certificates.pair("client"))).leader
        for pair in (None, certificates.pair("other-client"), certificates.pair("expired-client")):
            assert (await refusal(got(rig, certificates.ca, pair)))[0] is CODE.UNAVAILABLE


async def test_certificates_are_read_again(tmp_path: Path, certificates: tls.TlsFiles, files: GrpcTls) -> None:
    put(certificates, files, "expired-server")
    async with grpc_surface(tmp_path, snapshot(leading()), address=LOOPBACK, tls=files) as rig:
        assert (await refusal(got(rig, certificates.ca)))[0] is CODE.UNAVAILABLE
        put(certificates, files, "server")
        assert (await got(rig, certificates.ca)).leader
        files.cert_file.unlink()
        assert (await got(rig, certificates.ca)).leader, "while files are being replaced the old ones go on serving"


async def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    missing = GrpcTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    rig = GrpcRig(tmp_path, snapshot(leading()))
    with pytest.raises(ListenError, match=r"cannot read .*key\.pem: No such file or directory: see grpc\.tls"):
        await rig.open(address=LOOPBACK, tls=missing)


async def test_who_comes_over_the_network_is_no_operator(tmp_path: Path, certificates: tls.TlsFiles, files: GrpcTls) -> None:
    host = own_address()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    async with grpc_surface(tmp_path, snapshot(leading()), address=("0.0.0.0", 0), tls=files) as rig:
        assert (await got(rig, certificates.ca, host=host)).leader
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        for name, code in ((host, CODE.PERMISSION_DENIED), ("127.0.0.1", None)):
            async with grpc.aio.secure_channel(f"{name}:{rig.surface.address[1]}", credentials) as channel:
                resigning = channel.unary_unary(f"{SERVICE}Resign")(RESIGN, metadata=MEANT, timeout=PATIENCE_S)
                if code is None:
                    await resigning
                else:
                    assert await refusal(resigning) == (code, "changes need the Unix socket or loopback")
        assert len(rig.actions.asked) == 1


# ---- those who say nothing, and those who say too much


async def test_who_says_nothing_is_shown_out(tmp_path: Path, files: GrpcTls) -> None:
    for options in ({}, {"address": LOOPBACK}, {"address": LOOPBACK, "tls": files}):
        async with grpc_surface(tmp_path, snapshot(leading()), **options) as rig:
            address = rig.surface.address
            silent, slow = [
                RawClient(*await (asyncio.open_unix_connection if isinstance(address, str) else open_tcp)(address))
                for _ in range(2)
            ]
            slow.send(raw.PREFACE[:5])
            for client in (silent, slow):
                await client.end()
                await client.close()
            async with asyncio.timeout(PATIENCE_S):
                while len(rig.surface.doorman):
                    await asyncio.sleep(0)


async def open_tcp(address: tuple[str, int]) -> Any:
    return await asyncio.open_connection(*address)


async def test_who_asks_nothing_more_is_shown_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(server._OPTIONS)
    assert options["grpc.max_connection_idle_ms"] == 30_000
    assert options["grpc.server_handshake_timeout_ms"] == 2_000
    monkeypatch.setattr(server, "_OPTIONS", tuple({**options, "grpc.max_connection_idle_ms": 200}.items()))
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        idle, watching = [await RawClient.connect(rig.surface.address) for _ in range(2)]
        watching.send(raw.call(1, f"{SERVICE}WatchElection", pb.WatchElectionRequest()))
        await watching.next(raw.DATA)
        await idle.next(raw.GOAWAY)
        assert rig.surface.streams == 1, "who watches is not idle"
        for client in (idle, watching):
            await client.close()


async def test_a_flood_of_calls_that_are_taken_back_at_once(tmp_path: Path) -> None:
    """Rapid reset. Others are answered meanwhile, and nothing of it stays."""
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        flood = await RawClient.connect(rig.surface.address)
        try:
            for stream in range(1, 10_001, 2):
                flood.send(raw.call(stream, f"{SERVICE}WatchElection", pb.WatchElectionRequest()) + raw.reset(stream))
                if stream % 500 == 1:
                    await flood.writer.drain()
                    assert (await rig.get()).election.leader
        except ConnectionError:
            pass  # thrown out for it: as good
        await flood.close()
        await rig.no_streams_left()
        assert (await rig.get()).election.leader


async def test_more_streams_than_one_connection_may_have(tmp_path: Path) -> None:
    most = dict(server._OPTIONS)["grpc.max_concurrent_streams"]
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        client = await RawClient.connect(rig.surface.address)
        for number in range(most + 10):
            client.send(raw.call(2 * number + 1, f"{SERVICE}WatchElection", pb.WatchElectionRequest()))
        stream, code = await client.next(raw.RST_STREAM)
        assert stream > 2 * most
        assert int.from_bytes(code) in {7, 11}  # REFUSED_STREAM, ENHANCE_YOUR_CALM
        assert rig.surface.streams <= most
        assert (await rig.get()).election.leader
        await client.close()


async def test_headers_without_end(tmp_path: Path) -> None:
    async with grpc_surface(tmp_path, snapshot(leading())) as rig:
        metadata = tuple((f"x-{number}", "v" * 1000) for number in range(20))
        assert (await refusal(rig.call(f"{SERVICE}GetElection", pb.GetElectionRequest(), metadata)))[0] is CODE.RESOURCE_EXHAUSTED
        assert (await rig.get()).election.leader


async def test_limits_of_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (doorman.MAX_CONNECTIONS, doorman.MAX_CONNECTIONS_PER_UID) == (256, 64)
    for name, caller in (("MAX_CONNECTIONS_PER_UID", None), ("MAX_CONNECTIONS", doorman.Caller(loopback=True))):
        with monkeypatch.context() as patch:
            patch.setattr(doorman, name, 8)
            if caller is not None:
                patch.setattr(doorman, "_caller_of", lambda transport, caller=caller: caller)
            async with grpc_surface(tmp_path, snapshot(leading())) as rig:
                crowd = [RawClient(*await asyncio.open_unix_connection(rig.surface.address)) for _ in range(30)]
                assert (await rig.get()).election.leader
                assert len(rig.surface.doorman) == 8
                for client in crowd:
                    await client.close()
