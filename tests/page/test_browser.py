"""The page as people see it: real daemons on the local store, real Chromium."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from leaderd.surfaces.http.places import LIMITS
from tests.system.daemons import DaemonProcess, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("browser")]
TTL = "3s"


def operate(daemon: DaemonProcess, verb: str, *more: str) -> None:
    """An operator's command."""
    command = [sys.executable, "-m", "leaderd", verb, "jobs", *more, "--socket", str(daemon.socket)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def terms(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """The history as the store has it, newest first."""
    found: list[dict[str, Any]] = daemon.get("/v1/elections/jobs/history")[1].get("terms", [])
    return found


class Fleet:
    """Daemons on one local store, the first one leading."""

    def __init__(self, root: Path) -> None:
        (root / "store").mkdir()
        self._root = root
        self.daemons: list[DaemonProcess] = []

    def add(self, name: str, elections: tuple[str, ...] = ("jobs",), instance: str = "") -> DaemonProcess:
        url = f"local://{self._root}/store"
        daemon = DaemonProcess(name, url, self._root, elections, TTL, http="127.0.0.1:0", ops="127.0.0.1:0", instance=instance)
        daemon.start()
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


def test_a_pause_is_a_banner_that_says_who_why_and_until_when(fleet: Fleet, tab: Page) -> None:
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    tab.goto(second.url())
    banner = card(tab).locator(".pause")
    expect(card(tab).locator(".leader")).to_have_text("pod-a")
    expect(banner).to_be_hidden()
    operate(first, "pause", "--reason", "moving the database", "--expires-in", "1h")
    expect(banner).to_be_visible()
    told = second.get("/v1/elections/jobs")[1]["pause"]
    expect(banner).to_contain_text(f"Paused by {told['by']}, until ")
    expect(banner).to_contain_text(": moving the database. Nobody leads.")
    expect(card(tab).locator(".leader")).to_have_text("nobody")
    expect(card(tab).locator(".state")).to_have_text("paused")
    expect(card(tab).locator(".why")).to_be_hidden()
    operate(second, "pause")
    expect(banner).to_contain_text("until somebody resumes it. Nobody leads.")
    operate(second, "resume")
    expect(banner).to_be_hidden()
    expect(card(tab).locator(".leader")).to_contain_text("pod-")


def looks(tab: Page) -> list[str]:
    """Filled with every request for the overview from now on."""
    found: list[str] = []
    tab.on("request", lambda request: found.append(request.url) if request.url.endswith("/v1/elections") else None)
    return found


def a_while(tab: Page, ms: int) -> None:
    """Let the page go on, and see what it does."""
    tab.evaluate("ms => new Promise(done => setTimeout(done, ms))", ms)


def test_live_means_that_the_daemon_tells_and_is_not_asked(fleet: Fleet, tab: Page) -> None:
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    tab.goto(second.url())
    expect(tab.locator("#link")).to_have_text("live")
    expect(card(tab).locator(".leader")).to_have_text("pod-a")
    asked = looks(tab)
    a_while(tab, 6000)
    assert len(asked) <= 1, "who asks every 2 s would have asked three times"
    before = len(asked)
    first.send(signal.SIGTERM)
    expect(card(tab).locator(".leader")).to_have_text("pod-b this instance")
    assert len(asked) > before


def test_without_a_stream_the_page_says_that_it_asks(fleet: Fleet, tab: Page) -> None:
    """All streams of the ops listener are taken: still, what changes is seen."""
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    parts = urlsplit(second.url("ops"))
    taken = [socket.create_connection((parts.hostname, parts.port)) for _ in range(LIMITS["events"].ops)]
    try:
        for sock in taken:
            sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        tab.goto(second.url("ops"))
        expect(tab.locator("#link")).to_have_text("asks every 2 s")
        expect(card(tab).locator(".leader")).to_have_text("pod-a")
        asked = looks(tab)
        a_while(tab, 6000)
        assert len(asked) >= 2
        first.send(signal.SIGTERM)
        expect(card(tab).locator(".leader")).to_have_text("pod-b this instance")
    finally:
        for sock in taken:
            sock.close()


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


def test_the_last_terms_as_a_picture_and_a_table_with_the_keyboard_alone(fleet: Fleet, tab: Page) -> None:
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    operate(first, "resign", "--cooldown", "0s")
    wait_until(second.leads, 10.0, "pod-b leads")
    ended, going = wait_until(lambda: len(found := terms(second)) == 2 and reversed(found), 10.0, "both terms are written down")
    tab.goto(second.url())
    bars = card(tab).locator("svg g title")
    expect(bars).to_have_count(2, timeout=10000)
    was, now = bars.all_text_contents()
    assert was.startswith(f"pod-a, token {ended['token']}: ")
    assert was.endswith(", resigned")
    assert now.startswith(f"pod-b, token {going['token']}: ")
    assert now.endswith(" to now")
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
    rows = card(tab).locator("tbody tr")
    expect(rows.first).to_contain_text("still leading")
    expect(rows.last).to_contain_text(f"#{ended['token']}")
    expect(rows.last).to_contain_text("resigned")
    expect(card(tab).get_by_role("meter")).to_have_attribute("aria-label", "Validity left of this instance's lease")


def test_terms_of_one_second_stand_in_the_order_of_their_tokens(fleet: Fleet, tab: Page) -> None:
    """History tells whole seconds; a hand-over is quicker."""
    second = fleet.add("pod-b")
    at = "2026-01-01T00:00:00Z"
    later = {"token": 2, "leader": "pod-b", "started_at": at, "ended_at": None, "reason": None}
    earlier = {"token": 1, "leader": "pod-a", "started_at": at, "ended_at": at, "reason": "resigned"}
    tab.route("**/history", lambda route: route.fulfill(json={"election": "jobs", "terms": [later, earlier]}))
    tab.goto(second.url())
    card(tab).get_by_role("button", name="all").click()
    bars = card(tab).locator("svg g title")
    expect(bars).to_have_count(2)
    assert [each.partition(":")[0] for each in bars.all_text_contents()] == ["pod-a, token 1", "pod-b, token 2"]


def test_the_page_promises_nothing(fleet: Fleet, tab: Page) -> None:
    """A hand-over must not wait for somebody who looks."""
    first, second = fleet.add("pod-a"), fleet.add("pod-b")
    tab.goto(first.url())
    expect(card(tab).locator(".state")).to_have_text("leads here")
    first.send(signal.SIGTERM)
    began_s = time.monotonic()
    assert first.says("SIGTERM: draining")["promised_ms"] == 0
    wait_until(second.leads, 10.0, f"pod-b leads, {time.monotonic() - began_s:.1f} s after")
