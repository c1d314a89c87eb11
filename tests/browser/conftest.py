"""Fixtures for tests in a real Chromium: one browser a session, pages that must leave no complaint behind.

A page fails its test when the console shows an error, a script throws, a dialog opens or the content security policy
refuses something. `BOARD_PICTURES=docs/images` makes the tests that take pictures keep them there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.broker.jars import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ConsoleMessage, Dialog

DESK, TABLET, PHONE = (1440, 900), (1024, 800), (375, 740)
READY = "main:not([aria-busy]) > *"


class OpenPage(Protocol):
    """Opens an address and waits until the view is there."""

    def __call__(
        self, url: str, size: tuple[int, int] = DESK, *, dark: bool = False, still: bool = False, scale: float = 1
    ) -> Page:
        """`still`: with reduced motion; `scale`: device pixels a CSS pixel."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium"))
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What pages complained of; a test that breaks something on purpose clears what it expects."""
    return []


@pytest.fixture
def open_page(chromium: Browser, complaints: list[str]) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []

    def console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(f"console: {message.text}")

    def dialog(opened: Dialog) -> None:
        complaints.append(f"dialog: {opened.message}")
        opened.dismiss()

    def open_(
        url: str, size: tuple[int, int] = DESK, *, dark: bool = False, still: bool = False, scale: float = 1
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            device_scale_factor=scale,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", console)
        page.on("dialog", dialog)
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.goto(url)
        page.locator(READY).first.wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: the folder that BOARD_PICTURES names, else one that nobody keeps."""
    folder = Path(os.environ.get("BOARD_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
