"""10,000 accounts on one page: the document has few rows.

Seconds of the browser are printed, not tested, because they depend on the machine. The number of rows is tested.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.board_process import Board, Recording
from tests.browser.records import profile, score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import CDPSession, Page

    from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

ACCOUNTS = 10_000
MOST_ROWS = 80
"""Rows in the document at once: the visible ones and a few more."""
ROWS = ".accounts tbody tr[data-id]"


def value_of(index: int) -> float:
    return round(index * 100 / ACCOUNTS, 2)


def records() -> Iterator[tuple]:
    for index in range(ACCOUNTS):
        yield profile(f"a{index:05}", f"Account {index:05}", owner=f"Owner {index % 37}")
        yield score(f"a{index:05}", value_of(index))


class Meter:
    """Seconds that the page's process spent on scripts, layout and in all, since the last lap."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        wanted = {"ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration"}
        return {metric["name"]: metric["value"] for metric in metrics if metric["name"] in wanted}

    def lap(self) -> dict[str, float]:
        now = self._now()
        spent = {name: round(now[name] - self._before[name], 3) for name in now}
        self._before = now
        return spent


def test_ten_thousand_accounts_cost_what_forty_do(
    open_page: OpenPage,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording = Recording(tmp_path / "many.jsonl")
    recording.add(records())
    figures: dict[str, dict[str, float]] = {}
    with Board(tmp_path / "board.log", "--from", str(recording.path), "--follow") as board:
        page = open_page(f"{board.url}/")
        expect(page.locator(".table-head")).to_contain_text("10,000 accounts")
        meter = Meter(page)
        seen = 0
        while page.locator(f"{ROWS}[aria-rowindex='{ACCOUNTS + 1}']").count() == 0:
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            count = page.locator(ROWS).count()
            assert 0 < count <= MOST_ROWS
            seen += 1
            assert seen < 5_000, "the end is never reached"
        figures["scroll through all"] = meter.lap()
        expect(page.locator(ROWS).last.locator(".value")).to_have_text("100.0")
        # All change at once; a visible row shows it.
        recording.add(score(f"a{index:05}", 100 - value_of(index), revision=2) for index in range(ACCOUNTS))
        expect(page.locator(ROWS).last.locator(".value")).to_have_text("0.0", timeout=120_000)
        figures["all change"] = meter.lap()
        assert page.locator(ROWS).count() <= MOST_ROWS
        page.get_by_role("button", name="Order has changed").click()
        expect(page.locator(ROWS).first.locator(".value")).not_to_have_text("100.0")
        figures["sort again"] = meter.lap()
        page.close()
    record_property("seconds", json.dumps(figures))
    with capsys.disabled():
        sys.stdout.write(f"\n{ACCOUNTS:,} accounts, seconds of the page's process: {json.dumps(figures)}\n")
