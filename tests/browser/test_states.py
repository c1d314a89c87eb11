"""Scores on another scale for people, and the pages of accounts without a score: ended, silent, never scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.board_process import Board, Recording
from tests.browser.conftest import PHONE, follow, go_to
from tests.browser.records import DAY_MS, NOW_MS, POLICY, change, profile, score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.conftest import OpenPage
    from tests.browser.records import Record

pytestmark = pytest.mark.browser

ENDED_MS = NOW_MS - 12 * DAY_MS


def on_a_scale(record: Record, shown: str) -> Record:
    """The record of a score that people see as a text."""
    topic, key, message, stamp = record
    assert message is not None
    message["scores"]["health"]["shown"] = shown
    return topic, key, message, stamp


def unscored(account: str, state: str, **more: object) -> Record:
    """The record of an account that has no score."""
    missing: dict[str, Any] = {"value": None, "band": None, "factors": []}
    message = {"account_id": account, "as_of": NOW_MS, "revision": 9, "policy": POLICY, "segment": None, "state": state}
    return "health.scores", account, {**message, "scores": {"health": missing}, **more}, NOW_MS


def not_scored_any_more(account: str, value: float, state: str) -> Record:
    """The change with which an account loses its score."""
    topic, key, message, stamp = change(account, value, value, time=ENDED_MS, revision=3)
    assert message is not None
    return topic, key, {**message, "cause": "status", "state": state, "factors": []}, stamp


def records() -> Iterator[Record]:
    """A parent and a falling child out of ten; an account that has ended, a silent one, and one without any score."""
    yield profile("parent", "Parent Company", aliases=["4711"])
    yield on_a_scale(score("parent", 81.0), "8")
    yield profile("child", "Child Company", modules=[], seats=40)
    yield change("child", 75.0, 62.5, time=NOW_MS - 2 * DAY_MS, revision=2)
    yield on_a_scale(score("child", 62.5, revision=2, parent_id="parent"), "6")
    last = {"health": {"value": 62.5, "band": "attention", "shown": "6"}}
    for account, state, more in (("gone", "ended", {"ended_at": ENDED_MS}), ("silent", "no-data", {})):
        yield change(account, 80.0, 62.5, time=NOW_MS - 30 * DAY_MS, revision=2)
        yield not_scored_any_more(account, 62.5, state)
        yield unscored(account, state, last=last, **more)
    yield unscored("never", "no-data")
    yield unscored("twin", "ended", last=last, ended_at=ENDED_MS, merged_into="parent")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    recorded = Recording(tmp_path_factory.mktemp("states") / "records.jsonl")
    recorded.add(records())
    with Board(recorded.path.with_suffix(".log"), "--from", str(recorded.path)) as running:
        yield running


def test_lists_show_scores_on_the_scale_of_the_policy(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    value = page.locator("tr[data-id=child] .value")
    expect(value).to_have_text("6")
    expect(value).to_have_attribute("title", "62.5 points")
    falling = page.get_by_role("region", name="Fastest fallers").locator("li")
    expect(falling.locator(".band")).to_have_text("6 attention")
    expect(falling.locator(".by")).to_have_text("\u221212.5")
    go_to(page, f"{board.url}/accounts/parent")
    expect(page.locator(".family li .num")).to_have_text("6")


def test_the_page_of_an_account_says_that_its_change_is_in_points(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/child")
    expect(page.locator(".big .value")).to_have_text("6")
    expect(page.locator(".big")).to_contain_text("\u221212.5 points in 7 days")
    expect(page.locator(".facts dt")).to_have_text(["Segment", "seats", "Part of"])  # modules are empty


@pytest.mark.parametrize(
    ("account", "text", "event"),
    [
        ("gone", "Ended on 10 Nov", "Not scored any more: the account ended"),
        ("silent", "No data", "Not scored any more: no data"),
    ],
)
def test_an_account_without_a_score_has_its_history(
    board: Board, open_page: OpenPage, account: str, text: str, event: str
) -> None:
    page = open_page(f"{board.url}/accounts/{account}")
    expect(page.locator(".big .value")).to_have_text("\u2013")
    expect(page.locator(".big")).to_contain_text(text)
    expect(page.locator(".big")).to_contain_text("The last score was 6, attention")
    changed = page.get_by_role("region", name="What changed it")
    expect(changed.get_by_label("To")).to_have_attribute("aria-valuetext", "10 Nov, 00:00: 62.5")
    expect(changed.locator(".summary")).to_contain_text("to 62.5")
    expect(page.get_by_role("region", name="What the score is made of")).to_contain_text("There is no score now.")
    entry = page.get_by_label("Timeline").locator("li.entry").first
    expect(entry).to_contain_text(event)
    expect(entry.locator(".num")).to_have_count(0)
    page.locator("details.astable summary").click()
    expect(page.locator("details.astable tbody tr").first).to_contain_text("not scored")


def test_an_account_that_never_had_a_score_has_nothing_to_compare(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/never", PHONE)
    expect(page.locator(".big")).to_contain_text("No data")
    expect(page.get_by_role("region", name="Score over time")).to_contain_text("No history yet.")
    expect(page.get_by_role("region", name="What changed it")).to_be_hidden()
    expect(page.locator("main table")).to_have_count(0)


def test_an_account_that_was_merged_leads_to_the_other_one(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/twin")
    expect(page.locator(".big")).to_contain_text("Merged on 10 Nov")
    follow(page, page.locator(".facts a", has_text="parent"), "/accounts/parent")
    expect(page.get_by_role("heading", name="Parent Company")).to_be_visible()


def test_an_alias_leads_to_its_account(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/4711")
    expect(page.get_by_role("heading", name="Parent Company")).to_be_visible()
    expect(page).to_have_url(f"{board.url}/accounts/parent")
    expect(page.locator(".facts")).to_contain_text("4711")


def test_lists_leave_out_accounts_without_a_score(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    expect(page.locator("tr[data-id]")).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="2 accounts")).to_be_visible()
