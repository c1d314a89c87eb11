"""Fixtures for tests in a real Chromium, and functions that wait until the page shows the view that was asked for.

A page fails its test when the console shows an error, a script throws, a dialog opens or the content security policy
refuses something. `BOARD_PICTURES=docs/images` makes the tests that take pictures store them there.

On a busy machine a click on a link returns before the page shows another view, so that the next locator may match the
previous one: use `follow` for links and `go_to` for addresses.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, expect, sync_playwright

from tests.broker.jars import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ConsoleMessage, Dialog, Locator

DESK, TABLET, PHONE = (1440, 900), (1024, 800), (375, 740)
READY = "main:not([aria-busy]) > *"
"""The view is complete: while a view loads, `main` is busy, and before the script runs nothing of it is visible."""

expect.set_options(timeout=20_000)  # a busy machine is slow; what must be fast has a limit of its own


class OpenPage(Protocol):
    """Opens an address and waits until the view is complete."""

    def __call__(
        self,
        url: str,
        size: tuple[int, int] = DESK,
        *,
        dark: bool = False,
        still: bool = False,
        scale: float = 1,
        zone: str = "UTC",
    ) -> Page:
        """`still`: with reduced motion; `scale`: device pixels a CSS pixel; `zone`: time zone of the reader."""


def wait_for_view(page: Page) -> None:
    """Wait until the view of the present address is complete."""
    page.locator(READY).first.wait_for()


def go_to(page: Page, address: str) -> None:
    """Load an address and wait for its view."""
    page.goto(address)
    wait_for_view(page)


def follow(page: Page, link: Locator, path: str) -> None:
    """Click a link of the page and wait for the view at `path`.

    The page changes the address and marks `main` as busy in one step, so the previous view does not match.
    """
    link.click()
    page.wait_for_url(lambda url: urlsplit(url).path == path)
    wait_for_view(page)


class Chromium:
    """A browser that is started again when it has ended: Chromium itself crashes now and then on a busy machine."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._browser: Browser | None = None

    def browser(self) -> Browser:
        """The browser that runs."""
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._playwright.chromium.launch(executable_path=tool("chromium-headless-shell"))
        return self._browser

    def close(self) -> None:
        """End it."""
        if self._browser is not None:
            self._browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser for one file of tests.

    Playwright's client leaves its event loop running in this thread until it is closed. It is closed after each file,
    so that the tests of other files in the same process can call `asyncio.run`.
    """
    with sync_playwright() as playwright:
        started = Chromium(playwright)
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """Errors of pages; a test that causes an error on purpose removes it."""
    return []


@pytest.fixture
def open_page(chromium: Chromium, complaints: list[str]) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []

    def console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(f"console: {message.text}")

    def dialog(opened: Dialog) -> None:
        complaints.append(f"dialog: {opened.message}")
        opened.dismiss()

    def open_(
        url: str,
        size: tuple[int, int] = DESK,
        *,
        dark: bool = False,
        still: bool = False,
        scale: float = 1,
        zone: str = "UTC",
    ) -> Page:
        browser = chromium.browser()
        options: dict[str, Any] = {
            "viewport": {"width": size[0], "height": size[1]},
            "color_scheme": "dark" if dark else "light",
            "reduced_motion": "reduce" if still else "no-preference",
            "device_scale_factor": scale,
            "timezone_id": zone,
        }
        try:
            return shown(browser, url, options)
        except Error:
            if browser.is_connected():
                raise
            return shown(chromium.browser(), url, options)

    def shown(browser: Browser, url: str, options: dict[str, Any]) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", console)
        page.on("dialog", dialog)
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        go_to(page, url)
        return page

    yield open_
    for context in contexts:
        if context.browser is not None and context.browser.is_connected():
            context.close()
    assert complaints == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder for pictures: BOARD_PICTURES, else a temporary one."""
    folder = Path(os.environ.get("BOARD_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
