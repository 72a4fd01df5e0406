"""Where things are when nobody says: the runtime directory (socket, state files), and the directory of the default store.

Shared by the daemon and the client commands, so: standard library only, and nothing slow to import.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

SOCKET_NAME = "leaderd.sock"
GRPC_SOCKET_NAME = "grpc.sock"
SYSTEM_RUNTIME_DIR = "/run/leaderd"
SYSTEM_STATE_DIR = "/var/lib/leaderd"


def runtime_dir(environ: Mapping[str, str]) -> str:
    """The directory for socket and state files: `LEADERD_RUNTIME_DIR`, else the first of the candidates that can be written.

    It need not exist yet.
    """
    candidates = runtime_dir_candidates(environ)
    return next((path for path in candidates if can_write(path)), candidates[-1])


def runtime_dir_candidates(environ: Mapping[str, str]) -> list[str]:
    """In the order of preference: one when `LEADERD_RUNTIME_DIR` says so, else system, session, private under the temp dir."""
    if given := environ.get("LEADERD_RUNTIME_DIR"):
        return [given]
    candidates = [SYSTEM_RUNTIME_DIR]
    if session := environ.get("XDG_RUNTIME_DIR"):
        candidates.append(f"{session}/leaderd")
    candidates.append(private_temp_dir(environ))
    return candidates


def private_temp_dir(environ: Mapping[str, str]) -> str:
    """The last resort: our own folder in the temp dir, where anybody may have been before us (see `is_ours`)."""
    return f"{environ.get('TMPDIR') or '/tmp'}/leaderd-{os.geteuid()}"  # noqa: S108 - ownership is checked


def is_ours(path: str) -> bool:
    """Whether only root and we can put files there. In a world-writable temp dir anybody may have been there first."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {0, os.geteuid()} and not found.st_mode & stat.S_IWOTH


def find_socket(environ: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """For clients without `--socket` and `LEADERD_SOCKET`: the socket of the first candidate that has one, and all paths tried."""
    tried = []
    for directory in runtime_dir_candidates(environ):
        path = f"{directory}/{SOCKET_NAME}"
        tried.append(path)
        # A socket in a temp folder that somebody else prepared could belong to a daemon that lies.
        trusted = directory != private_temp_dir(environ) or is_ours(directory)
        if trusted and os.path.exists(path):
            return path, tried
    return None, tried


def default_store_dir(environ: Mapping[str, str]) -> str | None:
    """Where the default local store keeps its file: it must outlive a reboot. `None` if no such place can be written."""
    candidates = [SYSTEM_STATE_DIR]
    if state := environ.get("XDG_STATE_HOME"):
        candidates.append(f"{state}/leaderd")
    elif home := environ.get("HOME"):
        candidates.append(f"{home}/.local/state/leaderd")
    return next((path for path in candidates if path.startswith("/") and can_write(path)), None)


def can_write(path: str) -> bool:
    """Whether we can create files in this directory, creating it first if need be."""
    while not os.path.lexists(path):
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
