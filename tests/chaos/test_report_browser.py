"""The report as people see it, in real Chromium: by day, by night, printed; its links, and its boxes."""

import json
from pathlib import Path

import pytest

from tests.chaos.test_judge import GOOD, S, write, yes
from tests.chaos.test_report import no, rendered
from tests.page.conftest import chromium  # noqa: F401 - a fixture

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("browser")]
CONTRAST = (Path(__file__).parent.parent / "page" / "contrast.js").read_text()


@pytest.fixture
def report(tmp_path):
    """Of a run in which everything happens."""
    log = json.dumps({"ts": "2026-11-23T10:00:01.500Z", "level": "warning", "msg": "the store is silent"}) + "\n"
    suspended = [{**yes("c1", 5, at_s, at_s + 0.3), "state": "suspended"} for at_s in (1.2, 1.5)]
    more = [*suspended, no("c3", 2.0, "unknown"), write("fenced", 5, 7.0, accepted=False), yes("c1", 5, 5.1, 5.4)]
    more.append({"kind": "poll", "at_ns": 6 * S, "instance": "c1", "silent": "refused"})
    history = sorted([{**GOOD[0], "wall_ns": 1_795_428_000 * S}, *GOOD[1:], *more], key=lambda line: line["at_ns"])
    rendered(tmp_path, history, logs=[("c1/daemon.log", log), ("s1/server.log", log)])
    return (tmp_path / "report.html").as_uri()


def tab(browser, **settings):
    context = browser.new_context(viewport={"width": 1250, "height": 900}, **settings)
    opened = context.new_page()
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    return opened, asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_and_asks_nobody_for_anything(chromium, report, scheme):  # noqa: F811
    opened, asked = tab(chromium, color_scheme=scheme)
    opened.goto(report)
    assert opened.evaluate(CONTRAST) == []
    assert asked == [report]
    wide = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "the page as a whole scrolls in one direction only"
    patterns = "[...document.querySelectorAll('.timeline [fill^=url]')].map(n => n.getAttribute('fill').slice(5, -1))"
    used = set(opened.evaluate(patterns))
    assert {"silent", "unknown", "doubt", "fault", "term1"} <= used
    assert opened.evaluate(f"{patterns}.every(id => document.getElementById(id))"), "each pattern is there"


def test_a_verdict_shows_its_instant_and_its_line(chromium, report):  # noqa: F811
    opened, _ = tab(chromium)
    opened.goto(report)
    row = opened.locator("tr", has=opened.locator("th", has_text="no-overlap"))
    row.locator("a[href^='#at-']").first.click()
    assert opened.locator(".mark:target line").evaluate("n => getComputedStyle(n).visibility") == "visible"
    row.locator("a[href^='#log-']").first.click()
    assert "says yes" in opened.locator(".log :target").inner_text() or "two leaders" in opened.locator(".log :target").inner_text()
    opened.locator("svg .overlap").first.click(force=True)
    assert opened.locator(".log :target").count() == 1, "from the picture to the log as well"


def test_a_box_hides_those_who_are_not_asked(chromium, report):  # noqa: F811
    opened, _ = tab(chromium)
    opened.goto(report)
    assert opened.locator(".log .stores").first.is_visible()
    opened.locator("#show-stores").uncheck()
    assert not opened.locator(".log .stores").first.is_visible()
    assert opened.locator(".log .daemons").first.is_visible()


def test_it_prints(chromium, report):  # noqa: F811
    opened, _ = tab(chromium, color_scheme="dark")
    opened.goto(report)
    opened.emulate_media(media="print")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "no black sheets"
    assert opened.evaluate(CONTRAST) == []
    log = opened.locator("pre.log")
    assert log.evaluate("n => n.scrollHeight <= n.clientHeight + 1"), "nothing of the log is behind a scroll bar"
    assert not opened.locator(".filter").is_visible()
    assert opened.pdf(prefer_css_page_size=True).startswith(b"%PDF")
