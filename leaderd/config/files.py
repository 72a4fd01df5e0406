"""Checks of the files a configuration names: there, readable, of the right sort, and closed to others if they hold a secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 64 * 1024


class FileRefused(Exception):
    """The file cannot be used; never quotes its content."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.remedy = remedy


def check_file(name: str, pem_marker: str | None = None, *, secret: bool = False) -> Path:
    """The absolute path of a file that can be used. Raises `FileRefused`.

    `pem_marker` is text that must be in it. A `secret` must be closed to others: anybody on the host could read it, or replace it.
    """
    if not name or "\0" in name:
        raise FileRefused("is no file name", "write the path of a file")
    path = Path(name).absolute()
    try:
        # Not blocking: a FIFO would be waited on for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileRefused("there is no such file", "create it, or name another") from None
    except PermissionError:
        raise FileRefused("the file cannot be read", f"let the daemon's user read it: chown {os.geteuid()} {path}") from None
    except OSError as exc:
        raise FileRefused(f"the file cannot be opened: {exc.strerror}", "name a regular file") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise FileRefused("is not a regular file", "name a regular file")
        if secret and found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise FileRefused(
                f"the secret is open to everybody on this host (mode {stat.S_IMODE(found.st_mode):04o})",
                f"chmod 600 {path} (Kubernetes: defaultMode: 0440)",
            )
        data = os.read(fd, MAX_BYTES + 1)
    except OSError as exc:
        raise FileRefused(f"the file cannot be read: {exc.strerror}", "name a regular file") from None
    finally:
        os.close(fd)
    _check_content(data, pem_marker)
    return path


def _check_content(data: bytes, pem_marker: str | None) -> None:
    if len(data) > MAX_BYTES and pem_marker is None:
        raise FileRefused(f"the file is larger than {MAX_BYTES // 1024} KiB", "is it the right one?")
    if not data.strip():
        raise FileRefused("the file is empty", "write the content into it")
    if pem_marker is not None:
        if pem_marker.encode() not in data:
            kind = "certificate" if pem_marker.startswith("CERT") else "private key"
            raise FileRefused(f"the file holds no {kind} in PEM form", f"it must hold a line `-----BEGIN ... {pem_marker}`")
        if b"ENCRYPTED" in data and not pem_marker.startswith("CERT"):
            raise FileRefused(
                "the private key has a passphrase", "a daemon has nobody to ask: remove it (openssl pkey -in ... -out ...)"
            )
        return
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise FileRefused("the file is not UTF-8 text", "write the secret as one line of text") from None
    if not text.isprintable():
        raise FileRefused("the file holds more than one line, or control characters", "write the secret as one line of text")
