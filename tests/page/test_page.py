"""The document itself: who gets it, and that it can neither load nor run anything but its own."""

import base64
import hashlib
import re

import pytest

from leaderd.surfaces import page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "TEXT/HTML;q=0.5", "application/json, text/html;q=0.1"])
def test_a_browser_gets_the_page(accept: str) -> None:
    assert page.wanted(accept)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/*", "text/html;q=0", "text/html; q=0.0", "text/htmlx"])
def test_a_program_does_not(accept: str) -> None:
    assert not page.wanted(accept)


def test_nothing_comes_from_elsewhere() -> None:
    body = page.page().body.decode()
    assert re.findall(r"""(?:src|href)=["']([^"'#/][^"']*)""", body) == ["data:,"]
    assert "url(" not in body
    assert "@import" not in body
    assert re.findall(r"https?://[^\s\"'<]+", body) == ["http://www.w3.org/2000/svg"]


def test_the_policy_names_exactly_the_two_blocks() -> None:
    found = page.page()
    policy = re.search(rb"Content-Security-Policy: ([^\r]+)", found.headers)
    assert policy is not None
    directives = dict(each.split(" ", 1) for each in policy[1].decode().split("; "))
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        block = re.search(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), found.body, re.DOTALL)
        assert block is not None
        digest = base64.b64encode(hashlib.sha256(block[1]).digest()).decode()
        assert directives[kind] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"


def test_no_markup_is_ever_made_from_text() -> None:
    """Names come from peers: they go in as text, never as markup."""
    body = page.page().body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", body)
