"""Headless Chromium, one for all tests of a worker."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

import testbed
from testbed import browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    testbed.require("chromium")
    folder = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser.program(), args=list(browser.ARGUMENTS), env=dict(browser.environment(folder))
        )
        yield started
        started.close()
