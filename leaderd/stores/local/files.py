"""The directory, the database file and the doorbells: how they are made, and whose they may be."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from leaderd.election.problems import Reason
from leaderd.stores.local.host import read_mounts, refuse_shared
from leaderd.stores.local.problem import LocalError

DB_NAME = "leaderd.db"
_BELL = "wake-"
_SESSION_ID = re.compile(r"[0-9a-f]{32}")


def new_session_id() -> str:
    """A name that no other session ever had."""
    return secrets.token_hex(16)


def prepare(directory: Path) -> Path:
    """Make the directory (one level, mode 0700) and an empty database in it if they are missing; check both.

    Returns the path of the database. Raises `LocalError` with what to do about it. Parents are not made: a missing parent is more
    often an unmounted volume or a misspelt path than a wish.
    """
    try:
        _make_directory(directory)
        info = os.stat(directory)
        if not stat.S_ISDIR(info.st_mode):
            raise LocalError(Reason.STORE_ERROR, f"{directory} is not a directory")
        _check_directory(directory, info)
        refuse_shared(directory, read_mounts())
        path = directory / DB_NAME
        _make_database(path, info)
        _check_database(path, info)
    except OSError as error:
        raise os_problem(error, directory) from error
    return path


def inspect(directory: Path) -> bool:
    """The same checks as `prepare`, making nothing: whether there is a database. Raises `LocalError`."""
    try:
        if not os.path.lexists(directory):
            if not directory.parent.is_dir():
                raise LocalError(Reason.STORE_UNREACHABLE, f"{directory.parent} does not exist: create it, or mount it")
            if not os.access(directory.parent, os.W_OK | os.X_OK):
                raise LocalError(Reason.PERMISSION_DENIED, f"{directory} cannot be made by uid {os.geteuid()}")
            return False
        info = os.stat(directory)
        if not stat.S_ISDIR(info.st_mode):
            raise LocalError(Reason.STORE_ERROR, f"{directory} is not a directory")
        _check_directory(directory, info)
        refuse_shared(directory, read_mounts())
        path = directory / DB_NAME
        if not os.path.lexists(path):
            if not os.access(directory, os.W_OK | os.X_OK):
                raise LocalError(Reason.PERMISSION_DENIED, f"{directory} cannot be written by uid {os.geteuid()}")
            return False
        _check_database(path, info)
    except OSError as error:
        raise os_problem(error, directory) from error
    return True


def os_problem(error: OSError, path: Path) -> LocalError:
    """What the operating system refused, for a human."""
    named = error.filename if isinstance(error.filename, str) else str(path)
    if isinstance(error, PermissionError):
        return LocalError(Reason.PERMISSION_DENIED, f"{named}: {error.strerror} for uid {os.geteuid()}")
    return LocalError(Reason.STORE_ERROR, f"{named}: {error.strerror}")


def _make_directory(directory: Path) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise LocalError(Reason.STORE_UNREACHABLE, f"{directory.parent} does not exist: create it, or mount it") from None
    except NotADirectoryError:
        raise LocalError(Reason.STORE_ERROR, f"{directory.parent} is not a directory") from None
    except OSError:
        if not os.path.isdir(directory):  # on a read-only file system mkdir fails even where the directory exists
            raise


def _group_shared(info: os.stat_result) -> bool:
    return bool(info.st_mode & stat.S_IWGRP) and info.st_gid in {os.getegid(), *os.getgroups()}


def _check_directory(directory: Path, info: os.stat_result) -> None:
    """Nobody but its owner, root and a group of ours may put files there: they could put a database of theirs in our way."""
    trusted = {0, os.geteuid()}
    link = os.lstat(directory)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in trusted:
        raise LocalError(Reason.PERMISSION_DENIED, f"{directory} is a symbolic link that belongs to uid {link.st_uid}")
    if info.st_mode & stat.S_IWOTH:
        raise LocalError(Reason.PERMISSION_DENIED, f"{directory} is writable by everyone: chmod o-w it, or name another directory")
    if info.st_uid not in trusted and not _group_shared(info):
        raise LocalError(
            Reason.PERMISSION_DENIED, f"{directory} belongs to uid {info.st_uid}, not to us (uid {os.geteuid()}) or root"
        )


def _make_database(path: Path, directory: os.stat_result) -> None:
    """An empty file is an empty database. It is made aside and linked into place, complete with its mode.

    Opening the real one to create it would not do: closing a descriptor of a file drops all POSIX locks this process has on it.
    """
    if os.path.lexists(path):
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        os.chmod(aside, stat.S_IMODE(directory.st_mode) & 0o660)
        os.link(aside, path)
    except FileExistsError:
        pass  # another daemon was quicker
    finally:
        os.unlink(aside)


def _check_database(path: Path, directory: os.stat_result) -> None:
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode):
        raise LocalError(Reason.FOREIGN_ENTRY, f"{path} is not a regular file")
    if info.st_mode & stat.S_IWOTH:
        raise LocalError(Reason.PERMISSION_DENIED, f"{path} is writable by everyone: chmod o-w it")
    if info.st_uid not in {0, os.geteuid(), directory.st_uid} and not _group_shared(directory):
        raise LocalError(Reason.PERMISSION_DENIED, f"{path} belongs to uid {info.st_uid}, not to us (uid {os.geteuid()}) or root")
    if not os.access(path, os.R_OK | os.W_OK):
        raise LocalError(Reason.PERMISSION_DENIED, f"{path} is not readable and writable for uid {os.geteuid()}")


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path`, or None if there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


class Doorbell:
    """A FIFO in the directory by which whoever leaves the queue wakes the next in it. A hint: the probe covers a lost one.

    A FIFO rather than a Unix socket: its path may be longer than 107 bytes. Opened to read and write, it never reads as ended.
    """

    def __init__(self, directory: Path, session: str) -> None:
        self._path = directory / (_BELL + session)
        os.mkfifo(self._path, stat.S_IMODE(os.stat(directory).st_mode) & 0o660)
        self.fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def drain(self) -> None:
        """Forget the rings so far."""
        try:
            while os.read(self.fd, 512):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Take the bell down."""
        os.close(self.fd)
        self._path.unlink(missing_ok=True)


def ring(directory: Path, session: str) -> None:
    """Wake the process of `session`; quietly nothing if it cannot be woken."""
    if not _SESSION_ID.fullmatch(session):
        return  # the name comes from the database: it must not lead out of the directory
    try:
        fd = os.open(directory / (_BELL + session), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # ENXIO: nobody listens any more
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.write(fd, b"\0")
    except OSError:
        pass  # EAGAIN: it has been rung a thousand times already
    finally:
        os.close(fd)


def take_down(directory: Path, session: str) -> None:
    """Remove the bell of a session that is no more."""
    if _SESSION_ID.fullmatch(session):
        try:
            os.unlink(directory / (_BELL + session))
        except OSError:
            pass  # a leftover bell wakes nobody and harms nobody


def sweep(directory: Path, alive: set[str]) -> None:
    """Remove the bells of sessions that are no more. Called inside a transaction, as bells are hung."""
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        if name.startswith(_BELL) and (session := name.removeprefix(_BELL)) not in alive:
            take_down(directory, session)
