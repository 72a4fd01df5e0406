"""Where the daemon's socket is."""

from __future__ import annotations

import os


def runtime_dirs() -> list[str]:
    """Where a daemon's runtime directory may be, first choice first (as the daemon chooses it)."""
    if given := os.environ.get("LEADERD_RUNTIME_DIR"):
        return [given]
    found = ["/run/leaderd"]
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(f"{session}/leaderd")
    private = f"{os.environ.get('TMPDIR') or '/tmp'}/leaderd-{os.geteuid()}"  # noqa: S108 - ownership is checked
    try:
        status = os.lstat(private)
    except OSError:
        return found
    # In a temp dir anybody may have been there first, with a daemon that lies.
    return [*found, private] if status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o002 else found


def find_socket() -> str:
    """The daemon's socket: `LEADERD_SOCKET`, else the first that exists, else the one that should."""
    given = os.environ.get("LEADERD_SOCKET")
    if given and given != "off":
        return given
    paths = [f"{directory}/leaderd.sock" for directory in runtime_dirs()]
    return next((path for path in paths if os.path.exists(path)), paths[0])
