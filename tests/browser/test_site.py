"""The documentation site in a real browser: everything comes from the site, diagrams are drawn, the search finds."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.pages.site import built_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Chromium

pytestmark = pytest.mark.browser


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    return built_once(tmp_path_factory)


@pytest.fixture(scope="module", params=["http", "file"])
def address(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the site: served, or opened as files."""
    if request.param == "file":
        yield f"{folder.as_uri()}/"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(chromium: Chromium, address: str) -> Iterator[Page]:
    """A page whose scripts must not fail, and that must not ask another host for anything."""
    context = chromium.browser().new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    yield page
    page.wait_for_load_state("networkidle")
    context.close()
    assert failed == []
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("path", ["index.html", "ARCHITECTURE.html"])
def test_diagrams_are_drawn(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    # The theme puts the drawing into a closed shadow tree in the place of the source text.
    page.wait_for_selector("div.mermaid")
    box = page.locator("div.mermaid").first.bounding_box()
    assert box is not None
    assert box["height"] > 100
    assert page.locator("pre.mermaid").count() == 0


def test_the_search_finds_a_page(page: Page, address: str) -> None:
    page.goto(f"{address}index.html")
    page.keyboard.press("/")
    page.keyboard.type("send the events again")
    results = page.locator(".md-search-result__link")
    results.first.wait_for()
    assert any("tutorial/score-live-events.html" in (link.get_attribute("href") or "") for link in results.all())


def test_the_copy_button_copies_commands_without_prompt_and_output(page: Page, address: str) -> None:
    page.goto(f"{address}tutorial/score-a-file.html")
    block = page.locator(".highlight", has_text="pip install")
    block.hover()
    block.get_by_role("button").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('pip')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.split("\n") == ["python3 -m venv ~/vitals-env", "source ~/vitals-env/bin/activate", "pip install ."]
