"""What the wheel of leaderd-chaos holds (`chaos/pyproject.toml`): two folders of this tree, which lie beside its own.

Named as `force-include` there they would be copied into a checkout's environment too, and what is changed here would not be run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("chaos", "testbed")


class ChaosWheel(BuildHookInterface):  # type: ignore[type-arg]
    """Found by hatchling, because it is the only hook of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name every file, unless what is built is only a pointer to this checkout."""
        if version == "editable":
            return
        above = Path(self.root).parent
        for name in PACKAGES:
            for path in sorted((above / name).rglob("*")):
                if path.is_file() and path.suffix != ".pyc" and path.name != "pyproject.toml":
                    build_data["force_include"][str(path)] = str(path.relative_to(above))
