"""Columns of attributes in the table of accounts: chosen, filtered by, remembered, on a desk, a tablet and a phone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.board_process import Board, Recording
from tests.browser.conftest import DESK, PHONE, TABLET, follow, go_to, wait_for_view
from tests.browser.records import profile, score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

LAPTOP = (1280, 800)
ROWS = ".accounts tbody tr[data-id]"
CELLS = f"{ROWS} td.c-attribute"


def records() -> Iterator[tuple]:
    """Five accounts with attributes of every type, and sixty that differ in one."""
    known: tuple[dict[str, Any], ...] = (
        {"csm": "Ann", "seats": 40, "modules": ["crm", "billing"], "go live": "2026-01-31", "trial": True},
        {"csm": "Ann", "seats": 55.0, "modules": ["crm"]},
        {"csm": "Bo <b>x</b>", "seats": "120", "modules": []},
        {"csm": "A name that is much longer than any column of a table could be", "seats": 0.5},
        {},
    )
    for index, attributes in enumerate(known):
        yield profile(f"acc-{index}", f"Account {index}", owner="Cy", segment="large", **attributes)
        yield score(f"acc-{index}", 20.0 + index, segment="large")
    for index in range(60):
        yield profile(f"many-{index:02}", f"Many {index:02}", number=index)
        yield score(f"many-{index:02}", 80.0)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    recorded = Recording(tmp_path_factory.mktemp("columns") / "records.jsonl")
    recorded.add(records())
    with Board(recorded.path.with_suffix(".log"), "--from", str(recorded.path), "--follow") as running:
        yield running


def choose(page: Page, *names: str) -> None:
    page.locator(".columns summary").click()
    for name in names:
        page.locator(".columns").get_by_label(name).check()
    page.keyboard.press("Escape")
    expect(page.locator(".columns .menu")).to_be_hidden()


def heads(page: Page) -> list[str]:
    return page.locator(".accounts th.c-attribute").all_inner_texts()


def first_row(page: Page) -> list[str]:
    return page.locator(ROWS).first.locator("td.c-attribute").all_inner_texts()


def columns_of(page: Page) -> list[str]:
    return parse_qs(urlsplit(page.url).query).get("column", [])


def test_columns_are_chosen_and_remembered(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    expect(page.locator(ROWS).first).to_contain_text("Account 0")
    assert heads(page) == []
    choose(page, "seats", "modules", "trial", "go live")
    expect(page.locator(CELLS).first).to_have_text("40")
    assert heads(page) == ["seats", "modules", "trial", "go live"]
    assert first_row(page) == ["40", "crm, billing", "true", "2026-01-31"]
    assert columns_of(page) == ["seats", "modules", "trial", "go live"]
    assert page.locator(ROWS).nth(1).locator("td.c-attribute").all_inner_texts() == ["55", "crm", "", ""]
    page.locator(".columns summary").click()
    page.locator(".columns").get_by_label("trial").uncheck()
    expect(page.locator(".accounts th.c-attribute")).to_have_count(3)
    follow(page, page.get_by_role("link", name="Account 0"), "/accounts/acc-0")
    go_to(page, f"{board.url}/")
    expect(page.locator(".accounts th.c-attribute")).to_have_count(3)
    go_to(page, f"{board.url}/?column=csm")
    expect(page.locator(CELLS).first).to_have_text("Ann")
    assert heads(page) == ["csm"]
    assert page.locator(ROWS).nth(2).locator("td.c-attribute").inner_text() == "Bo <b>x</b>"


def test_a_column_sorts_the_table(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?column=seats")
    head = page.locator(".accounts th.c-attribute")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(CELLS).first).to_have_text("0.5")
    assert page.locator(CELLS).all_inner_texts()[:5] == ["0.5", "40", "55", "120", ""]  # 120 is a text
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator(CELLS).first).to_have_text("120")
    assert page.locator(CELLS).all_inner_texts()[:5] == ["120", "55", "40", "0.5", ""]
    assert parse_qs(urlsplit(page.url).query)["sort"] == ["attribute:seats"]
    page.reload()
    expect(page.locator(CELLS).first).to_have_text("120")
    expect(page.get_by_role("button", name="Order has changed")).to_be_hidden()


def test_there_is_a_limit_of_columns(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?column=a&column=b&column=csm&column=seats&column=trial&column=modules")
    assert heads(page) == ["a", "b", "csm", "seats", "trial"]
    page.locator(".columns summary").click()
    expect(page.locator(".columns")).to_contain_text("At most 5")
    boxes = page.locator(".columns input")
    expect(boxes).to_have_count(8)  # those of profiles, and two that no account has
    expect(page.locator(".columns").get_by_label("modules")).to_be_disabled()
    boxes.nth(6).uncheck()  # a: it comes after those that the accounts have
    expect(page.locator(".columns").get_by_label("modules")).to_be_enabled()
    assert heads(page) == ["b", "csm", "seats", "trial"]


def test_a_column_has_a_filter(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?column=modules&column=number")
    field = page.locator("select[name='attribute:modules']")
    expect(field.locator("option")).to_have_text(["Any", "none (63)", "billing (1)", "crm (2)"])
    expect(page.locator("select[name='attribute:number']")).to_have_count(0)  # it has too many values
    field.select_option("crm")
    expect(page.locator(ROWS)).to_have_count(2)
    assert parse_qs(urlsplit(page.url).query)["attribute"] == ["modules:crm"]
    field.select_option("")
    expect(page.get_by_role("status").filter(has_text="63 accounts")).to_be_visible()
    expect(page.locator(".active .chip")).to_contain_text("modules: none")
    page.get_by_title("Remove this filter").click()
    expect(page.get_by_role("status").filter(has_text="65 accounts")).to_be_visible()
    expect(field).to_have_value("\u0001any")


def test_filters_are_in_the_order_of_columns_and_numbers_in_their_own(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?column=seats&column=csm")
    seats = page.get_by_role("combobox", name="seats")
    expect(seats.locator("option")).to_have_text(["Any", "none (61)", "0.5 (1)", "40 (1)", "55 (1)", "120 (1)"])
    names = page.locator("select[name^='attribute:']").evaluate_all("all => all.map((each) => each.name)")
    assert names == ["attribute:seats", "attribute:csm"]


def test_the_menu_works_with_the_keyboard(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    menu, summary = page.locator(".columns .menu"), page.locator(".columns summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Attributes", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("checkbox", name="csm")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator(".accounts th.c-attribute")).to_have_text(["csm"])
    expect(page.get_by_role("checkbox", name="csm")).to_be_focused()  # the table is built again, the menu is not
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")  # to what is before the menu
    expect(menu).to_be_hidden()


def test_the_menu_is_visible_as_a_whole_when_it_opens(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/", LAPTOP)
    summary = page.locator(".columns summary")
    summary.evaluate("(element) => element.scrollIntoView({ block: 'end' })")  # at the bottom of the window
    summary.press("Enter")
    expect(page.locator(".columns .menu")).to_be_in_viewport(ratio=0.99)


def test_a_click_beside_the_menu_closes_it(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    menu = page.locator(".columns .menu")
    page.locator(".columns summary").click()
    menu.click(position={"x": 4, "y": 4})
    expect(menu).to_be_visible()
    page.get_by_role("status").filter(has_text="65 accounts").click()
    expect(menu).to_be_hidden()


def test_back_restores_the_columns_and_an_address_has_those_that_are_chosen(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?column=seats")
    choose(page, "trial")
    expect(page.locator(".accounts th.c-attribute")).to_have_text(["seats", "trial"])
    follow(page, page.get_by_role("link", name="Account 0"), "/accounts/acc-0")
    page.go_back()
    wait_for_view(page)
    expect(page.locator(".accounts th.c-attribute")).to_have_text(["seats", "trial"])
    expect(page.locator(CELLS).first).to_have_text("40")
    page.locator(".columns summary").click()
    for name in ("seats", "trial"):
        page.locator(".columns").get_by_label(name).uncheck()
    expect(page.locator(".accounts th.c-attribute")).to_have_count(0)
    assert columns_of(page) == []
    go_to(page, f"{board.url}/")
    expect(page.locator(ROWS).first).to_contain_text("Account 0")
    assert heads(page) == []


@pytest.mark.parametrize(("name", "size"), [("desk", DESK), ("laptop", LAPTOP), ("tablet", TABLET), ("phone", PHONE)])
def test_nothing_overlaps_at_any_width(board: Board, open_page: OpenPage, name: str, size: tuple[int, int]) -> None:
    columns = ("csm", "seats", "modules", "trial", "go live")
    page = open_page(f"{board.url}/?{'&'.join(f'column={column}' for column in columns)}", size)
    is_wide = name in {"desk", "laptop"}
    row = page.locator(ROWS).first
    expect(row).to_contain_text("Ann")
    assert row.locator("td.c-attribute").first.is_visible() == is_wide
    assert row.locator(".extra").is_visible() == (not is_wide)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    heights = {box["height"] for box in map(Locator.bounding_box, page.locator(ROWS).all()) if box}
    assert len(heights) == 1  # as the list expects
    row.scroll_into_view_if_needed()
    for text in ("Ann", "40", "crm, billing", "true", "2026-01-31"):
        expect(row.get_by_text(text, exact=True).filter(visible=True)).to_be_in_viewport()
    why = row.locator("td.c-why").bounding_box()
    assert why is not None
    assert why["width"] > 90
    boxes = [cell.bounding_box() for cell in row.locator("td").all() if cell.is_visible()]
    for left, right in pairwise(boxes if name != "phone" else ()):
        assert left is not None
        assert right is not None
        assert left["x"] + left["width"] <= right["x"] + 1
