"""Binding: clear errors that name address and remedy, and nothing left listening after one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from leaderd.errors import EXIT_INTERNAL, Fatal
from leaderd.surfaces.http import ListenError
from leaderd.surfaces.http.listeners import UnixAddress, bind_tcp, bind_unix
from tests.surfaces.rig import Rig, leading, snapshot, surfaces


def taken() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


async def test_a_taken_port() -> None:
    with taken() as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            await bind_tcp("127.0.0.1", port, "http")
    message = str(caught.value)
    assert (
        message
        == f"cannot listen on 127.0.0.1:{port}: another program listens there: stop it, or set --http to another port or to off"
    )
    assert isinstance(caught.value, Fatal)
    assert caught.value.code == EXIT_INTERNAL


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 198\.51\.100\.9:4041: that is no address of this machine: set --ops"):
        await bind_tcp("198.51.100.9", 4041, "ops")


async def test_a_name_that_is_none() -> None:
    with pytest.raises(ListenError, match="cannot listen on no such host:4041"):
        await bind_tcp("no such host", 4041, "ops")


async def test_any_free_port() -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        sockets = await bind_tcp(host, 0, "http")
        assert len(sockets) == 1
        assert sockets[0].getsockname()[1] > 0
        sockets[0].close()


async def test_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken() as other:
        port = other.getsockname()[1]
    sockets = await bind_tcp("localhost", port, "http")
    assert {sock.getsockname()[0] for sock in sockets} <= {"127.0.0.1", "::1"}
    for sock in sockets:
        sock.close()


async def test_ipv6_and_both(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        sockets = await bind_tcp("::", 0, "ops")
    except ListenError:
        pytest.skip("no IPv6")
    with sockets[0] as sock, socket.socket() as client:
        client.connect(("127.0.0.1", sock.getsockname()[1]))


def test_a_socket_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ListenError, match=r"--socket: .*file exists and is not a socket"):
        bind_unix(UnixAddress(tmp_path / "file"))


async def test_start_is_all_or_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.build(snapshot(leading()))
    place = tmp_path / "run" / "leaderd.sock"
    place.parent.mkdir()
    place.write_text("")
    with pytest.raises(ListenError):
        await rig.surfaces.start()
    address = rig.surfaces.addresses["app"]
    assert isinstance(address, tuple)
    with socket.socket() as client:
        assert client.connect_ex(address) != 0


async def test_all_that_is_taken_is_named_at_once(leader: Rig) -> None:
    address = leader.surfaces.addresses["app"]
    assert isinstance(address, tuple)
    second = Rig(leader.directory)
    second.build(snapshot(leading()))
    second.surfaces._tcp["app"] = (address, "http")
    with pytest.raises(ListenError) as caught:
        await second.surfaces.start()
    first, other = caught.value.message.split("; ")
    assert first.startswith(f"cannot listen on 127.0.0.1:{address[1]}: ")
    assert other.startswith("--socket: another program answers at ")
    assert caught.value.code == EXIT_INTERNAL
    assert not second.surfaces._servers
    assert (await leader.ask("/is-leader", "socket")).status == 200


async def test_a_second_daemon_is_told_and_the_first_goes_on(leader: Rig) -> None:
    second = Rig(leader.directory)
    second.build(snapshot(leading()))
    with pytest.raises(ListenError, match="another program answers at"):
        await second.surfaces.start()
    assert (await leader.ask("/is-leader", "socket")).status == 200


async def test_the_file_is_gone_after_stop(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(leading())) as rig:
        path = Path(str(rig.surfaces.addresses["socket"]))
        assert path.is_socket()
    assert not path.exists()


async def test_all_off(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.build(snapshot(leading()))
    rig.surfaces._tcp = {}
    rig.surfaces._unix = None
    await rig.surfaces.start()
    assert rig.surfaces.addresses == {}
    await rig.surfaces.stop()
