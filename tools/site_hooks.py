"""What the site generator needs to know: a link from docs/ to a file of the source tree cannot be followed on the site."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:  # noqa: ANN401 - MkDocs' own types, not needed here
    """Links that lead out of docs/ become their text and the file's name; all others stay, and MkDocs checks them."""
    here = PurePosixPath(page.file.src_uri).parent

    def named(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / here / link.group(2)).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link.group()
        text, name = link.group(1).strip("`"), str(target.relative_to(ROOT))
        return f"`{name}`" if text.rstrip("/") == name else f"{text} (`{name}` in the source tree)"

    return _LINK.sub(named, markdown)
