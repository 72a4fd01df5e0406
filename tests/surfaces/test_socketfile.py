"""The Unix socket's file: complete or not there, nobody's place taken, removed only while it is ours."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

import pytest

from leaderd.surfaces import socketfile
from leaderd.surfaces.socketfile import SocketFileError, bind, peer_of


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run" / "leaderd.sock"


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def left_over(path: Path) -> None:
    """A socket whose process is gone."""
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def only(path: Path) -> bool:
    return os.listdir(path.parent) == [path.name]


def test_a_fresh_socket(place: Path) -> None:
    bound = bind(place)
    with bound.sock:
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o750
        assert stat.S_IMODE(place.lstat().st_mode) == 0o660
        assert only(place)
        assert connects(place)
        assert bound.path == place
        bound.remove()
    assert os.listdir(place.parent) == []


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o770])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_mode_whatever_the_umask(place: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with bind(place, mode).sock:
            assert stat.S_IMODE(place.lstat().st_mode) == mode
            assert stat.S_IMODE(place.parent.stat().st_mode) == (0o751 if mode == 0o666 else 0o750)
    finally:
        os.umask(before)


def test_mode_and_group_are_set_before_it_is_seen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    seen = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        found = os.lstat(source)
        assert not place.exists()
        assert stat.S_IMODE(os.lstat(source.parent).st_mode) == 0o700
        assert connects(source)
        seen.append((stat.S_IMODE(found.st_mode), found.st_gid))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    with bind(place, 0o666, group).sock:
        assert seen == [(0o666, group)]
        assert place.parent.stat().st_gid == group


def test_a_stale_socket_is_replaced(place: Path) -> None:
    left_over(place)
    assert not connects(place)
    with bind(place).sock:
        assert connects(place)
        assert only(place)


def test_a_live_socket_is_never_stolen(place: Path) -> None:
    with bind(place).sock as first:
        inode = place.stat().st_ino
        with pytest.raises(SocketFileError, match=r"another program answers at .*leaderd\.sock: stop it"):
            bind(place)
        assert place.stat().st_ino == inode
        assert only(place)
        assert connects(place)
        assert first.fileno() >= 0


def test_a_live_socket_whose_queue_is_full_is_alive(place: Path) -> None:
    bound = bind(place, backlog=0)
    clients = []
    with bound.sock:
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            client.connect_ex(str(place))
            clients.append(client)
        with pytest.raises(SocketFileError, match="answers"):
            bind(place)
    for client in clients:
        client.close()


def test_a_datagram_socket_is_somebody_elses(place: Path) -> None:
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(place))
        with pytest.raises(SocketFileError, match="answers"):
            bind(place)


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_link_to_a_file(path: Path) -> None:
    target = path.parent / "target"
    target.write_text("precious")
    path.symlink_to(target)


def make_link_to_a_socket(path: Path) -> None:
    left_over(path.parent / "target")
    path.symlink_to(path.parent / "target")


@pytest.mark.parametrize(
    "make", [make_file, make_link_to_a_file, make_link_to_a_socket, Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere")]
)
def test_what_is_no_socket_stays(place: Path, make: object) -> None:
    place.parent.mkdir()
    make(place)  # type: ignore[operator]
    before = sorted(os.listdir(place.parent)), place.lstat().st_ino
    with pytest.raises(SocketFileError, match="is not a socket: choose another path, or remove it"):
        bind(place)
    assert (sorted(os.listdir(place.parent)), place.lstat().st_ino) == before


def test_a_path_above_107_bytes(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - 1
    fits, does_not = tmp_path / ("x" * room), tmp_path / ("x" * (room + 1))
    with bind(fits).sock:
        assert connects(fits)
    with pytest.raises(SocketFileError, match="is 108 bytes long; the kernel takes 107: choose a shorter path"):
        bind(does_not)
    with pytest.raises(SocketFileError, match="bytes long"):
        bind(tmp_path / ("\u00e9" * (room // 2 + 1)))


def test_a_directory_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(SocketFileError, match="is a symbolic link"):
        bind(tmp_path / "link" / "s")
    assert os.listdir(tmp_path / "real") == []


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SocketFileError, match="is not a directory"):
        bind(tmp_path / "file" / "s")


def test_a_shared_volume_open_to_all(place: Path) -> None:
    place.parent.mkdir()
    place.parent.chmod(0o2777)
    with bind(place).sock:
        assert connects(place)


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with bind(tmp_path / "a" / "b" / "s").sock:
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give things away")
def test_what_belongs_to_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir()
    os.chown(place.parent, 4242, 4242)
    with pytest.raises(SocketFileError, match="belongs to uid 4242"):
        bind(place)
    os.chown(place.parent, 0, 0)
    left_over(place)
    os.chown(place, 4242, 4242)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with bind(place).sock:
        assert connects(place)


def test_another_users_leftover_is_not_ours_to_replace(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_over(place)
    inode = place.lstat().st_ino
    real = os.lstat(place.parent)
    monkeypatch.setattr(os, "geteuid", lambda: real.st_uid + 1)
    monkeypatch.setattr(socketfile, "_prepare_directory", lambda directory, mode, group_id: None)
    with pytest.raises(SocketFileError, match="is left over from uid"):
        bind(place)
    assert place.lstat().st_ino == inode


def test_a_group_we_are_not_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    place.parent.mkdir()
    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(SocketFileError, match="Operation not permitted: choose a directory we may write to, and a group we are in"):
        bind(place, group_id=4242)
    assert os.listdir(place.parent) == []


def test_nothing_is_left_when_the_last_step_fails(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(SocketFileError, match="Read-only file system: choose a directory on a writable file system"):
        bind(place)
    assert os.listdir(place.parent) == []


def test_only_our_own_file_is_removed(place: Path) -> None:
    first = bind(place)
    first.sock.close()
    second = bind(place)
    first.remove()
    with second.sock:
        assert connects(place)
        second.remove()
        assert not place.exists()
        second.remove()


def test_two_at_once_in_one_directory(tmp_path: Path) -> None:
    with bind(tmp_path / "a").sock, bind(tmp_path / "b").sock:
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_directory_locked_for_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    place.parent.mkdir()
    monkeypatch.setattr(socketfile, "_LOCK_TRIES", 2)
    fd = os.open(place.parent, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(SocketFileError, match="has been locked"):
            bind(place)
    finally:
        os.close(fd)
    assert os.listdir(place.parent) == []


def test_the_peer_by_the_kernels_word(place: Path) -> None:
    with bind(place).sock as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))
        accepted, _ = server.accept()
        with accepted:
            assert peer_of(accepted) == (os.getpid(), os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("directory_mode", "mode", "with_group", "told"),
    [
        (0o750, 0o666, False, "chmod o\\+x"),
        (0o700, 0o660, True, "chmod g\\+x"),
        (0o710, 0o660, True, None),
        (0o751, 0o666, False, None),
        (0o750, 0o660, False, None),
        (0o750, 0o600, False, None),
    ],
)
def test_those_whom_the_socket_lets_in_but_its_directory_does_not_are_named(
    tmp_path: Path, directory_mode: int, mode: int, with_group: bool, told: str | None
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    os.chmod(directory, directory_mode)
    bound = socketfile.bind(directory / "s", mode, os.getegid() if with_group else None)
    bound.sock.close()
    bound.remove()
    if told is None:
        assert bound.warning is None
    else:
        assert bound.warning is not None
        assert re.search(told, bound.warning)


def test_a_fresh_directory_lets_in_whom_the_socket_lets_in(tmp_path: Path) -> None:
    bound = socketfile.bind(tmp_path / "run" / "s", 0o666)
    bound.sock.close()
    bound.remove()
    assert bound.warning is None
