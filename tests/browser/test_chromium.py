"""The browser of the tests is started again when it has crashed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Chromium, OpenPage

pytestmark = pytest.mark.browser

PAGE = "data:text/html,<title>p</title><main><h1>A view</h1></main>"


def test_a_page_opens_after_the_browser_was_killed(chromium: Chromium, open_page: OpenPage) -> None:
    expect(open_page(PAGE).get_by_role("heading")).to_have_text("A view")
    before = chromium.browser()
    for process in psutil.Process().children(recursive=True):
        if "chromium" in process.name():
            process.kill()
    expect(open_page(PAGE).get_by_role("heading")).to_have_text("A view")
    assert chromium.browser() is not before
