"""The mapped lease file of the daemon: a check without a system call, and without the daemon."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from time import CLOCK_BOOTTIME, clock_gettime_ns

_SIZE = 64
_HEAD = struct.Struct("<4sI").unpack_from
_BODY = struct.Struct("<IQQ").unpack_from
_SEQUENCE = struct.Struct("<I").unpack_from
_ORIGIN = struct.Struct("<Q16s").unpack_from
_TRIES = 100


class LeaseMap:
    """One election's lease file, mapped. Safe for threads; a forked child shares the mapping, which only reads."""

    __slots__ = ("_file", "_map", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        # No lock: two threads that open the file at once map it twice, and one mapping is dropped again.
        self._map: mmap.mmap | None = None
        self._file = (0, 0)

    def token(self) -> int | None:
        """The token of the term held now; None when none is, or the file is of no use: then `look` says which."""
        found = self._map
        if found is not None:
            sequence, token, until_ns = _BODY(found, 4)
            # As in `look`, but for the tuple: this is what apps call for every step.
            if until_ns > clock_gettime_ns(CLOCK_BOOTTIME) and not sequence & 1 and _SEQUENCE(found, 4)[0] == sequence:
                return token  # type: ignore[no-any-return]
        return None

    def look(self) -> tuple[int, int] | None:
        """Token and deadline (ns since boot) of the term held now, (0, 0) when none is; None when the file is of no use here."""
        found = self._map
        if found is not None:
            sequence, token, until_ns = _BODY(found, 4)
            # The clock is read before the sequence is compared: a term is only believed when nothing was written meanwhile.
            if until_ns > clock_gettime_ns(CLOCK_BOOTTIME) and not sequence & 1 and _SEQUENCE(found, 4)[0] == sequence:
                return token, until_ns
        return self._look_again()

    def _look_again(self) -> tuple[int, int] | None:
        """No term, a write under way, or another file by now: whatever says no may take its time."""
        found = self._current()
        if found is None:
            return None
        for _ in range(_TRIES):
            sequence, token, until_ns = _BODY(found, 4)
            if not sequence & 1 and _SEQUENCE(found, 4)[0] == sequence:
                return (token, until_ns) if until_ns > clock_gettime_ns(CLOCK_BOOTTIME) else (0, 0)
        return (0, 0)  # the writer was stopped in the middle of a write, and what it had begun is unknown

    def _current(self) -> mmap.mmap | None:
        """The mapping of the file that is at the path now."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            self._map = None
            return None
        mapped = self._map
        if mapped is not None and self._file == (found.st_dev, found.st_ino):
            return mapped
        opened = self._open()
        self._map = opened
        return opened

    def _open(self) -> mmap.mmap | None:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != _SIZE or found.st_uid not in _trusted(self.path):
                return None
            mapped = mmap.mmap(fd, _SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError):
            return None
        finally:
            os.close(fd)
        magic, _ = _HEAD(mapped, 0)
        # Deadlines of another boot, or of a shifted boot clock, cannot be compared with our clock.
        if magic != b"LDR1" or _ORIGIN(mapped, 32) != (_time_namespace(), _boot_id()):
            return None
        self._file = (found.st_dev, found.st_ino)
        return mapped


def _trusted(path: str) -> set[int]:
    """Whose file we believe: the owner of the directory, who decides anyhow what is in it, root, and ourselves."""
    return {0, os.geteuid(), os.stat(os.path.dirname(path) or ".").st_uid}


def _boot_id() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def _time_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/time").st_ino
    except OSError:
        return 0
