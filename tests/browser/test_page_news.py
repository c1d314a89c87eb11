"""A page that stays open shows what starts, changes and ends."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.board_process import PATIENCE_S, Board, Recording
from tests.browser.conftest import follow, go_to
from tests.browser.records import DAY_MS, NOW_MS, alert, change, score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Route

    from tests.browser.conftest import OpenPage
    from tests.browser.records import Record

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    recorded = Recording(tmp_path_factory.mktemp("news") / "records.jsonl")
    recorded.add([change("acme", 80.0, 35.0, time=NOW_MS - DAY_MS), score("acme", 35.0)])
    for index in range(8):
        recorded.add([score(f"low-{index}", 30.0), alert(f"low-{index}", "Low", 30.0, starts_at=NOW_MS)])
    recorded.add(
        [change("silent", 80.0, 60.0, time=NOW_MS - 200 * DAY_MS), score("silent", 60.0, as_of=NOW_MS - 200 * DAY_MS)]
    )
    return recorded


@pytest.fixture(scope="module")
def board(recording: Recording) -> Iterator[Board]:
    with Board(recording.path.with_suffix(".log"), "--from", str(recording.path), "--follow") as running:
        yield running


def candidate(value: float) -> Record:
    return "health.shadow", "acme", {**(score("acme", value)[2] or {}), "alerts": []}, NOW_MS


def test_the_shadow_is_followed_from_its_start_to_its_end(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/")
    follow(page, page.get_by_role("link", name="Shadow"), "/shadow")  # the view has the focus then
    empty = page.locator(".empty strong")
    expect(empty).to_have_text("No candidate policy is running.")
    recording.add([candidate(55.0)])
    expect(page.locator(".differs tbody td").nth(1)).to_contain_text("55.0")
    recording.add([candidate(56.0)])
    expect(page.locator(".differs tbody td").nth(1)).to_contain_text("56.0")
    recording.add([("health.shadow", "acme", None, NOW_MS)])
    expect(empty).to_have_text("No candidate policy is running.")


def test_a_change_between_the_rows_and_the_start_of_the_stream_is_shown(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/processor")
    value = page.locator("tr[data-id=low-3] .value")

    def start_late(route: Route) -> None:
        """Connect the stream after the rows are shown, and after a change that the board has read."""
        expect(value).to_have_text("30.0")
        recording.add([score("low-3", 31.5, revision=2)])
        until = time.monotonic() + PATIENCE_S
        while board.ask("/api/accounts/low-3")["scores"]["health"]["value"] != 31.5:
            assert time.monotonic() < until, "the board has not read the record"
        route.continue_()

    page.route("**/api/stream*", start_late, times=1)
    follow(page, page.get_by_role("link", name="Accounts", exact=True), "/")
    expect(value).to_have_text("31.5")


def test_an_alert_that_fires_while_the_view_loads_is_shown(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/?q=silent")

    def older(route: Route) -> None:
        """Give the page an answer that is older than an event that it has received."""
        answer = route.fetch()
        later_ms = NOW_MS + DAY_MS // 2
        fired = alert("later", "Later", 30.0, starts_at=later_ms)
        recording.add([fired, score("later", 30.0, as_of=later_ms)])
        expect(page.locator(".strip")).to_contain_text("12:00")  # the summary comes after the alert
        route.fulfill(response=answer)

    page.route("**/api/alerts*", older, times=1)
    follow(page, page.get_by_role("link", name="Alerts", exact=True), "/alerts")
    expect(page.locator(".alerts a", has_text="later")).to_be_visible()
    topic, key, fired, stamp = alert("later", "Later", 30.0, starts_at=NOW_MS + DAY_MS // 2)
    assert fired is not None
    ended = {**fired, "id": "ended-later", "status": "resolved", "ends_at": NOW_MS + DAY_MS}
    recording.add([(topic, key, ended, stamp)])


def test_an_operational_alert_appears_and_disappears_by_itself(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/")
    alerts = page.get_by_label("Open alerts").locator("li")
    expect(alerts).to_have_count(4)
    labels = {"source": "billing", "partition": "0"}
    topic, key, fired, stamp = alert("", "billing", 50.0, starts_at=NOW_MS, rule="stalled:billing", labels=labels)
    assert fired is not None
    recording.add([(topic, key, fired, stamp)])
    expect(alerts.first).to_contain_text("source billing has stalled")
    ended = {**fired, "id": "ended", "status": "resolved", "ends_at": NOW_MS + 1}
    page.mouse.move(0, 0)
    recording.add([(topic, key, ended, stamp)])
    expect(page.get_by_label("Open alerts")).not_to_contain_text("has stalled")
    expect(alerts).to_have_count(4)


def test_a_timeline_offers_new_items_only_when_there_are_some(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/accounts/acme", (375, 240))  # so low that the timeline can be scrolled to the top
    timeline = page.get_by_label("Timeline")
    expect(timeline).to_contain_text("There is nothing older.")
    timeline.evaluate("element => element.scrollIntoView()")
    new = page.get_by_role("button", name="Show new items")
    with page.expect_response(re.compile("/timeline")):
        recording.add([score("acme", 35.1, revision=2)])  # too small a step to be published as a change
        expect(page.locator(".big .value")).to_have_text("35.1")
    expect(new).to_be_hidden()
    recording.add([score("acme", 30.0, revision=3), change("acme", 35.0, 30.0, time=NOW_MS, revision=3)])
    new.click()
    expect(timeline.locator("li.entry").first).to_contain_text("to 30.0")
    expect(new).to_be_hidden()


def test_a_silent_account_shows_since_when_it_has_no_data(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=silent")
    row = page.locator("tr[data-id=silent]")
    expect(row.locator(".why")).to_have_text("No data since 6 May 2026")
    expect(row.locator(".delta")).to_have_text("\u2013")
    go_to(page, f"{board.url}/accounts/silent")
    expect(page.locator(".big")).to_contain_text("No data since 6 May 2026")


def test_a_list_of_alerts_without_a_match_names_the_filters(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/alerts?severity=info")
    expect(page.locator(".empty strong")).to_have_text("No alert matches.")
    go_to(page, f"{board.url}/alerts?status=resolved&severity=info")
    expect(page.locator(".empty strong")).to_have_text("No alert matches.")


def test_an_address_that_cannot_be_decoded_is_not_found(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/%E0%A4%A")
    expect(page.locator(".empty strong")).to_have_text("This page does not exist.")
