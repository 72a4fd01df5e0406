"""Headless Chromium, one for the tests of a module.

Not one for the session: as long as Playwright's synchronous API is open, an event loop counts as running in this thread, and every
other test of the worker that starts a loop of its own would fail."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

import testbed
from testbed import browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    testbed.require("chromium")
    folder = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser.program(), args=list(browser.ARGUMENTS), env=dict(browser.environment(folder))
        )
        yield started
        started.close()
