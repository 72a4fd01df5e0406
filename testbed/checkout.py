"""Whether this code is run from a checkout of the project or from an installed wheel, which holds no tests."""

from __future__ import annotations

from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent


def root() -> Path | None:
    """The folder of the checkout; None where this is installed."""
    return _ABOVE if (_ABOVE / "pyproject.toml").is_file() and (_ABOVE / "tests" / "sim").is_dir() else None
