"""The documents as a whole: every link and anchor leads somewhere, the map knows every page, the site can be built."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tools.reference import planned
from tools.site_hooks import on_page_markdown

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OUTSIDE = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
ALL = [*OUTSIDE, *PAGES, *sorted((ROOT / "deploy").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def prose(page: Path) -> str:
    """The page without its code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by, as both MkDocs and code hosts make it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists():
            found.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(linked):
            found.append(f"{target}: no heading #{anchor} in {linked.name}")
    return found


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    assert not broken(page)


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n[a](gone.md) [b](#a-page) [c](#elsewhere) `[d](code.md)`\n\n```\n[e](code.md)\n```\n", encoding="utf-8"
    )
    assert broken(page) == ["gone.md: no such file", "#elsewhere: no heading #elsewhere in page.md"]


PICTURES = sorted((DOCS / "img").glob("*.svg"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_shown_described_and_readable_in_the_dark(picture: Path) -> None:
    svg = ElementTree.parse(picture).getroot()
    text = picture.read_text(encoding="utf-8")
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg[0].text
    assert svg[1].text
    light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
    used = {name for found in re.findall(r'class="([\w ]+)"', text) for name in found.split()} - {"name"}
    for name in used:
        assert f".{name} {{" in light
        assert f".{name} {{" in dark
    assert any(f"img/{picture.name})" in prose(page) for page in PAGES)


def test_the_picture_of_the_deadline_has_the_numbers_of_the_plan() -> None:
    facts = json.loads(planned("etcd", "10s", "-o", "json")[1])
    text = (DOCS / "img" / "deadline.svg").read_text(encoding="utf-8")
    assert f">{facts['detection_s']:.2f} s<" in text
    assert f">nobody leads: {facts['leaderless_s']:.2f} s<" in text


def test_the_map_and_the_site_know_every_page() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", prose(DOCS / "index.md"))}
    listed = set(re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])))
    pages = {str(page.relative_to(DOCS)) for page in PAGES}
    assert listed == pages
    assert {str(path.relative_to(DOCS)) for path in linked if path.is_relative_to(DOCS)} == pages - {"index.md"}


def test_links_out_of_the_docs_become_names() -> None:
    class Page:
        class file:
            src_uri = "runbooks/x.md"

    text = on_page_markdown("[stay](../http.md#x), [what](../../SECURITY.md), [deploy/](../../deploy/)", page=Page)
    assert text == "[stay](../http.md#x), what (`SECURITY.md` in the source tree), `deploy`"


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = [page for page in (tmp_path / "site").rglob("*.html") if page.name != "404.html"]
    assert len(pages) == len(PAGES)
    loaded = r"<(?:script|img|link)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*"
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert not [found for text in texts for found in re.findall(loaded, text)]
    # A code host sees a list or a table where the site's Markdown may see a paragraph that goes on.
    shown = [re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL) for text in texts]
    assert not [found for text in shown for found in re.findall(r"^(?:[-*+|]|\d+\.) .*", text, re.MULTILINE)]
