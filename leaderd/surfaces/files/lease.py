"""`NAME.lease`: 64 bytes, little-endian, written in place so that a mapping of it lives through restarts of the daemon.

========  ====  =================================================================
offset    size  field
========  ====  =================================================================
0         4     magic `LDR1`
4         4     sequence; odd while a write is under way
8         8     token
16        8     valid_until, nanoseconds on CLOCK_BOOTTIME; 0: not leader
24        8     index
32        8     inode of the writer's time namespace
40        16    boot id
56        8     zero
========  ====  =================================================================

Plain writes, no mapping: should somebody cut the file short, a write mends it where a mapping would kill the daemon.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

SIZE = 64
_HEAD = struct.Struct("<4sI")
_SEQUENCE = struct.Struct("<I")
_FIELDS = struct.Struct("<QQQ")
_ORIGIN = struct.Struct("<Q16s8x")


class StateFileError(Exception):
    """A state file cannot be made; the text says which, why, and what to do."""


class LeaseFile:
    """One election's lease file, locked for as long as we are its writer."""

    def __init__(self, path: Path, mode: int, group_id: int | None) -> None:
        """Take the file over, and zero it. `mode`: its permission bits. Raises `StateFileError`."""
        self.path = path
        self._written = (0, 0, -1)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StateFileError(f"{path} is a symbolic link: remove it, lest we write elsewhere") from None
            raise StateFileError(f"cannot make {path}: {error.strerror}: choose a socket in a directory we may write to") from None
        try:
            self._take_over(mode, group_id)
        except BaseException:
            os.close(self._fd)
            raise

    def _take_over(self, mode: int, group_id: int | None) -> None:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise StateFileError(f"{self.path} is not a plain file of its own: remove it")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateFileError(
                f"another daemon writes {self.path}: stop it, or give this one a socket in a directory of its own (--socket)"
            ) from None
        try:
            os.ftruncate(self._fd, SIZE)
            os.posix_fallocate(self._fd, 0, SIZE)  # a disk that fills up later must not keep us from zeroing the field
            self._sequence = _SEQUENCE.unpack(os.pread(self._fd, 4, 4))[0] & ~1
            self._begin()
            os.pwrite(self._fd, _FIELDS.pack(0, 0, 0) + _ORIGIN.pack(time_namespace(), boot_id()), 8)
            self._end()
            os.fchmod(self._fd, mode)
            if group_id is not None:
                os.fchown(self._fd, -1, group_id)
        except OSError as error:
            raise StateFileError(f"cannot write {self.path}: {error.strerror}") from None

    def write(self, token: int, valid_until_ns: int, index: int) -> None:
        """Put up a term, or with zeros that there is none. Neither waits nor takes a lock. Raises `OSError`."""
        if (token, valid_until_ns, index) == self._written:
            return
        self._begin()
        os.pwrite(self._fd, _FIELDS.pack(token, valid_until_ns, index), 8)
        self._end()
        self._written = (token, valid_until_ns, index)

    def _begin(self) -> None:
        # The deadline goes first: whoever ignores the sequence sees no leader, rather than half of two terms.
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        os.pwrite(self._fd, _HEAD.pack(b"LDR1", self._sequence), 0)
        os.pwrite(self._fd, bytes(8), 16)

    def _end(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        os.pwrite(self._fd, _SEQUENCE.pack(self._sequence), 4)

    def close(self) -> None:
        """Zero the field and let go of the file. It stays: a mapping of it serves the next daemon as well."""
        with contextlib.suppress(OSError):
            self.write(0, 0, max(0, self._written[2]))
        os.close(self._fd)


def boot_id() -> bytes:
    """Which boot of this kernel a reading of CLOCK_BOOTTIME belongs to; zeros when the kernel does not say."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return bytes.fromhex(text.strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def time_namespace() -> int:
    """The inode of our time namespace, in which CLOCK_BOOTTIME may be shifted; 0 when the kernel has none."""
    try:
        return os.stat("/proc/self/ns/time").st_ino
    except OSError:
        return 0
