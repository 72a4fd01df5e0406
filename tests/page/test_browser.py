"""The page as people see it: real daemons on the local store, real Chromium."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.system.daemons import DaemonProcess, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("browser")]
TTL = "3s"


class Fleet:
    """Daemons on one local store, the first one leading."""

    def __init__(self, root: Path) -> None:
        (root / "store").mkdir()
        self._root = root
        self.daemons: list[DaemonProcess] = []

    def add(self, name: str, elections: tuple[str, ...] = ("jobs",), instance: str = "") -> DaemonProcess:
        url = f"local://{self._root}/store"
        daemon = DaemonProcess(name, url, self._root, elections, TTL, http="127.0.0.1:0", instance=instance).start()
        self.daemons.append(daemon)
        wait_until(lambda: daemon.get("/v1/elections")[0] == 200, 10.0, f"{name} answers")
        if len(self.daemons) == 1:
            wait_until(lambda: all(daemon.leads(each) for each in elections), 10.0, f"{name} leads")
        return daemon


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    for daemon in made.daemons:
        daemon.end()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield opened
    context.close()
    assert problems == []


def card(tab: Page, election: str = "jobs") -> Locator:
    return tab.locator(f'[data-election="{election}"]')


def test_who_leads_with_which_token_and_for_how_long(fleet: Fleet, tab: Page) -> None:
    first = fleet.add("pod-a")
    fleet.add("pod-b")
    tab.goto(first.url())
    token = first.get("/is-leader/jobs?promise=0")[1]["token_text"]
    expect(card(tab).locator(".leader")).to_have_text("pod-a this instance")
    expect(card(tab).locator(".token")).to_have_text(f"#{token}")
    expect(card(tab).locator(".state")).to_have_text("leads here")
    expect(card(tab).locator(".left")).to_contain_text("s left of")
    expect(card(tab).locator(".queue li")).to_have_text(["pod-a (this instance)", "pod-b"])
    expect(tab.locator("#store")).to_have_text("local connected")
    expect(tab.locator("#link")).to_have_text("live")
    expect(tab).to_have_title("\u25cf pod-a leads \u2013 leaderd")


def test_a_hand_over_shows_by_itself(fleet: Fleet, tab: Page) -> None:
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    tab.goto(second.url())
    expect(card(tab).locator(".leader")).to_have_text("pod-a")
    expect(card(tab).locator(".lease")).to_be_hidden()
    first.send(signal.SIGTERM)
    expect(card(tab).locator(".leader")).to_have_text("pod-b this instance")
    expect(card(tab).locator(".lease")).to_be_visible()


def test_with_the_daemon_frozen_the_lease_runs_out_by_itself(fleet: Fleet, tab: Page) -> None:
    first = fleet.add("pod-a")
    tab.goto(first.url())
    expect(card(tab).locator(".state")).to_have_text("leads here")
    first.send(signal.SIGSTOP)
    try:
        expect(card(tab).locator(".state")).to_have_text("lease ran out", timeout=8000)
        expect(card(tab).locator(".leader")).to_have_text("nobody, or not known")
        expect(tab.locator("#stale")).to_contain_text("No news from the daemon", timeout=15000)
    finally:
        first.send(signal.SIGCONT)
    expect(card(tab).locator(".state")).to_have_text("leads here", timeout=15000)
    expect(tab.locator("#stale")).to_be_hidden()


def test_a_name_is_never_markup(fleet: Fleet, tab: Page) -> None:
    """Our own configuration refuses such names; what a foreign contender wrote into the queue may be anything."""
    name = "<img src=x onerror=alert(1)>"

    def foreign(route: Route) -> None:
        body = route.fetch().json()
        body["instance"] = name
        for each in body["elections"]:
            each["candidates"].append({"instance": name, "token": None, "leader": False, "own": False})
        route.fulfill(json=body)

    tab.route("**/v1/elections", foreign)
    tab.goto(fleet.add("pod-a").url())
    expect(tab.locator("#instance")).to_have_text(f"on {name}")
    expect(card(tab).locator(".queue li").last).to_have_text(name)
    assert tab.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_readable_at_every_width_light_and_dark(fleet: Fleet, chromium: Browser, width: int, scheme: str) -> None:
    elections = ("jobs", "a-much-longer-election-name.of-a-whole-department")
    first = fleet.add("a", elections, instance="pod-a-with-a-rather-long-name-7d9c5b6f4-x2x9z")
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto(first.url())
    expect(card(opened).locator(".state")).to_have_text("leads here")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate((Path(__file__).parent / "contrast.js").read_text()) == []
    context.close()


def with_history(tab: Page) -> None:
    """Terms as the store would tell of them."""

    def answer(route: Route) -> None:
        def at(ago_s: float) -> str:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s))

        terms = [
            {"token": 41, "leader": "pod-b", "started_at": at(500), "ended_at": at(300), "reason": "resigned"},
            {"token": 42, "leader": "pod-a", "started_at": at(290), "ended_at": None, "reason": None},
        ]
        route.fulfill(json={"terms": terms})

    tab.route("**/history", answer)


def test_the_last_terms_as_a_picture_and_a_table_with_the_keyboard_alone(fleet: Fleet, tab: Page) -> None:
    first = fleet.add("pod-a")
    with_history(tab)
    tab.goto(first.url())
    expect(card(tab).locator(".terms")).to_be_visible(timeout=10000)
    assert card(tab).locator("svg g title").all_text_contents()[0].startswith("pod-b, token 41: ")
    tab.keyboard.press("Tab")
    expect(tab.locator(".skip")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator("#elections")).to_be_focused()
    tab.keyboard.press("Tab")
    expect(card(tab).get_by_role("button", name="15 min")).to_be_focused()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    expect(card(tab).get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    expect(card(tab).locator("summary")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(card(tab).locator("tbody tr").first).to_contain_text("still leading")
    expect(card(tab).get_by_role("meter")).to_have_attribute("aria-label", "Validity left of this instance's lease")


def test_the_page_promises_nothing(fleet: Fleet, tab: Page) -> None:
    """A hand-over must not wait for somebody who looks."""
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    tab.goto(first.url())
    expect(card(tab).locator(".state")).to_have_text("leads here")
    first.send(signal.SIGTERM)
    began_s = time.monotonic()
    assert first.says("SIGTERM: draining")["promised_ms"] == 0
    wait_until(second.leads, 10.0, f"pod-b leads, {time.monotonic() - began_s:.1f} s after")
