"""A Unix socket that appears complete or not at all, takes no living one's place, and is removed only while it is still ours.

Bound in a fresh private directory beside its final place, given mode and group there, made to listen, and renamed: nobody sees it
with wrong permissions, nobody can connect before there is somebody to accept, and nobody can swap it for something else meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_PATH_BYTES = 107
_PROBE_S = 0.5
_LOCK_TRIES = 50
_LOCK_PAUSE_S = 0.02
_CONNECT_MEANS_NOBODY = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class SocketFileError(Exception):
    """The socket cannot be made; the text says where, why, and what to do."""


class Peer(NamedTuple):
    """Who is at the other end of a Unix socket, by the kernel's word. Authorise by uid or gid: `pid` is 0 across namespaces."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket and the file it is known by."""

    sock: socket.socket
    path: Path
    device: int
    inode: int
    warning: str | None = None
    """Why those whom the socket's mode lets in cannot reach it, if so."""

    def remove(self) -> None:
        """Take the file away, if it is still this socket's and not that of a successor."""
        try:
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()
        except OSError:
            pass  # gone already, or no longer ours to remove


def peer_of(sock: socket.socket) -> Peer:
    """The credentials the peer had when it connected (SO_PEERCRED). Raises `OSError` for anything but a connected Unix socket."""
    size = struct.calcsize("3i")
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


def bind(path: Path, mode: int = 0o660, group_id: int | None = None, backlog: int = 128) -> BoundSocket:
    """Make the socket. `mode`: permission bits; connecting takes write. Raises `SocketFileError`."""
    path = Path(os.path.abspath(path))
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise SocketFileError(f"{path} is {length} bytes long; the kernel takes {MAX_PATH_BYTES}: choose a shorter path")
    try:
        _prepare_directory(path.parent, mode, group_id)
        with _private_directory(path.parent) as (directory, fd), _locked(path.parent):
            sock = _listening(fd, mode, group_id, directory, backlog)
            try:
                _make_way(path)
                found = os.lstat(directory / "s")
                os.rename(directory / "s", path)
            except BaseException:
                sock.close()
                with contextlib.suppress(OSError):
                    (directory / "s").unlink()
                raise
    except OSError as error:
        raise SocketFileError(f"cannot make {path}: {error.strerror or error}{_remedy(error)}") from None
    return BoundSocket(sock, path, found.st_dev, found.st_ino, _shut_out(path.parent, mode, group_id))


def _shut_out(directory: Path, mode: int, group_id: int | None) -> str | None:
    """To connect, one must also be able to pass through the directory."""
    found = os.stat(directory)
    if found.st_mode & stat.S_IXOTH:
        return None
    shown = f"{directory} ({stat.S_IMODE(found.st_mode):04o}, group {found.st_gid})"
    if mode & stat.S_IWOTH:
        return f"the socket is open to everybody, but its directory {shown} is not: chmod o+x {directory}"
    if mode & stat.S_IWGRP and group_id is not None and (found.st_gid != group_id or not found.st_mode & stat.S_IXGRP):
        remedy = f"chgrp {group_id} {directory}, and chmod g+x {directory}"
        return f"the socket is for group {group_id}, which cannot pass its directory {shown}: {remedy}"
    return None


def _prepare_directory(directory: Path, mode: int, group_id: int | None) -> None:
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        bits = 0o751 if mode & stat.S_IWOTH else 0o750
        directory.mkdir(mode=bits, parents=True)
        os.chmod(directory, bits)  # whom the socket lets in must pass; a umask of 077 would shut them out
        if group_id is not None:
            os.chown(directory, -1, group_id)
        return
    # A directory open to all is not refused: in a pod it is a volume that the containers share, made so by the kubelet.
    if stat.S_ISLNK(found.st_mode):
        raise SocketFileError(f"{directory} is a symbolic link: name the directory it leads to, lest it lead elsewhere tomorrow")
    if not stat.S_ISDIR(found.st_mode):
        raise SocketFileError(f"{directory} is not a directory: choose another path for the socket")
    if found.st_uid not in {0, os.geteuid()}:
        raise SocketFileError(
            f"{directory} belongs to uid {found.st_uid}, neither to us nor to root: choose a directory of our own"
        )


@contextlib.contextmanager
def _private_directory(parent: Path) -> Iterator[tuple[Path, int]]:
    directory = parent / f".{secrets.token_hex(6)}"
    directory.mkdir(mode=0o700)
    fd = -1
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        yield directory, fd
    finally:
        if fd >= 0:
            os.close(fd)
        directory.rmdir()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two daemons starting at once must not both find the same dead socket and then take each other's place."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
            except OSError:
                break  # a file system without locks: the window is a few microseconds wide
            else:
                break
        else:
            raise SocketFileError(
                f"{directory} has been locked by another program for a second: stop it, or choose another directory"
            )
        yield
    finally:
        os.close(fd)


def _listening(fd: int, mode: int, group_id: int | None, directory: Path, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # By the directory's descriptor, so that a final path of 107 bytes still leaves room for the name it has here.
        sock.bind(f"/proc/self/fd/{fd}/s")
        os.chmod(directory / "s", mode)
        if group_id is not None:
            os.chown(directory / "s", -1, group_id)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        with contextlib.suppress(OSError):
            (directory / "s").unlink()
        raise
    return sock


def _make_way(path: Path) -> None:
    """Make sure that nothing, or only a dead socket of ours, is at `path`; the rename then replaces it."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketFileError(f"{path} exists and is not a socket: choose another path, or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        code = probe.connect_ex(str(path))
    if code in {errno.EACCES, errno.EPERM}:
        raise SocketFileError(f"{path} belongs to uid {found.st_uid} and may be in use: choose another path, or remove it")
    if code not in _CONNECT_MEANS_NOBODY:
        raise SocketFileError(f"another program answers at {path}: stop it, or choose another path (one daemon, one socket)")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise SocketFileError(f"{path} is left over from uid {found.st_uid}: remove it, or choose another path")


def _remedy(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ": choose a directory we may write to, and a group we are in"
    if error.errno == errno.EROFS:
        return ": choose a directory on a writable file system"
    return ""
