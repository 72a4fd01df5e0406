"""A real browser without a screen: Debian's Chromium as unpacked by `fetch`, with the environment that its own libraries need."""

from __future__ import annotations

import os
from pathlib import Path

from testbed import fetch

ARGUMENTS = (
    "--no-sandbox",  # it only ever sees pages of our own, and a container gives it no namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def program() -> str:
    """The browser's path. Raises `FetchError` when it is not usable here."""
    return fetch.installed("chromium").programs["chromium"]


def environment(folder: Path) -> dict[str, str]:
    """The variables to start it with; what it writes goes below `folder`."""
    root = Path(fetch.installed("chromium").origin)
    libraries = sorted({str(each.parent) for each in root.glob("**/*.so*")})
    fonts = folder / "fonts.conf"
    fonts.write_text(
        f'<?xml version="1.0"?><fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{folder}/fonts</cachedir></fontconfig>',
        encoding="utf-8",
    )
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(fonts), "HOME": str(folder)}
