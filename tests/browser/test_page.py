"""The page with recordings: its texts, its use, and that no name, width or colour scheme breaks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.board_process import Board, Recording
from tests.browser.conftest import DESK, PHONE, TABLET, follow, go_to, wait_for_view
from tests.browser.records import DAY_MS, NOW_MS, alert, change, profile, score

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = '"><script>alert(1)</script>'
ATTRIBUTE = "' onmouseover='alert(1)' x='"
ODD_ID = "a/b?c=<i>&d#%2F"
NASTY = {"nasty-1": IMAGE, "nasty-2": SCRIPT, ODD_ID: ATTRIBUTE}
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 2
VIEWS = ["/", "/alerts", "/shadow", "/processor", "/accounts/acme", "/accounts/nobody"]


def records() -> Iterator[tuple]:
    yield profile("acme", "Acme", owner="Ann", segment="mid-market", tier="gold", arr=12_000)
    before = 90.0
    for index, (days, value) in enumerate([(60, 88.0), (30, 83.5), (6, 75.5), (2, 67.5), (1, 35.0)]):
        policy = "older@00" if days == 60 else "synthetic@0123456789abcdef"
        yield change("acme", before, value, time=NOW_MS - days * DAY_MS, revision=index + 1, policy=policy)
        before = value
    override = {
        "reason": "knows better",
        "since": NOW_MS - DAY_MS,
        "expires_at": NOW_MS + DAY_MS,
        "score": 80.0,
        "by": "Bo",
    }
    topic, key, message, stamp = score("acme", 35.0, revision=6, override=override, stalled_sources=["product-usage"])
    assert message is not None
    message["scores"]["health"]["confidence"] = 0.5
    yield topic, key, message, stamp
    yield alert("acme", "Acme", 35.0, starts_at=NOW_MS - DAY_MS)
    for account, name in NASTY.items():
        yield profile(account, name, owner=SCRIPT, segment=IMAGE)
        yield change(account, 80.0, 50.0, time=NOW_MS - DAY_MS)
        yield score(account, 50.0, segment=IMAGE)
        yield alert(account, name, 50.0, starts_at=NOW_MS - DAY_MS)
    yield profile("long", LONG, owner=LONG, segment=LONG)
    yield score("long", 71.0)
    yield alert("long", LONG, 39.0, starts_at=NOW_MS - 2 * DAY_MS)
    for index in range(40):
        yield profile(f"plain-{index:02}", f"Plain {index:02}", owner="Cy" if index % 2 else "Di")
        yield score(f"plain-{index:02}", 60.0 + index)
    for account, turn in {
        "falls": {"at": NOW_MS + 9 * DAY_MS, "band": "attention", "score": 68.5},
        "stays": None,
    }.items():
        yield change(account, 60.0, 75.0, time=NOW_MS - 20 * DAY_MS)
        topic, key, message, stamp = score(account, 75.0)
        assert message is not None
        message["scores"]["health"]["outlook"] = {"until": NOW_MS + 30 * DAY_MS, "turn": turn}
        yield topic, key, message, stamp
    shadow = {**(score("acme", 55.0)[2] or {}), "alerts": ["band:health:attention"]}
    yield "health.shadow", "acme", shadow, NOW_MS


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    recorded = Recording(tmp_path_factory.mktemp("page") / "records.jsonl")
    recorded.add(records())
    return recorded


@pytest.fixture(scope="module")
def board(recording: Recording) -> Iterator[Board]:
    with Board(recording.path.with_suffix(".log"), "--from", str(recording.path), "--follow") as running:
        yield running


def shown(page: Page) -> list[str]:
    """Names in the table, in order."""
    return page.locator(".accounts tbody tr[data-id] .who a").all_inner_texts()


# Names are text


def test_names_are_shown_as_text_wherever_they_appear(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    for name in NASTY.values():
        expect(page.locator(".accounts .who a", has_text=name)).to_have_text(name)
    expect(page.locator(".fallers")).to_contain_text(IMAGE)
    go_to(page, f"{board.url}/alerts")
    expect(page.locator(".alerts")).to_contain_text(SCRIPT)
    assert page.locator("main img, main script, main [onmouseover]").count() == 0


def test_an_account_with_an_odd_id_is_reached_from_its_row(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    follow(page, page.locator(".accounts .who a", has_text=ATTRIBUTE), f"/accounts/{quote(ODD_ID, safe='')}")
    expect(page.locator("h1")).to_have_text(ATTRIBUTE)
    expect(page.locator(".id")).to_have_text(ODD_ID)
    page.reload()
    wait_for_view(page)
    expect(page.locator("h1")).to_have_text(ATTRIBUTE)
    assert page.locator("main img, main script, main [onmouseover]").count() == 0


def test_a_search_for_markup_is_text_too(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&owner=%22%3E%3Cscript%3E")
    expect(page.locator(".empty strong").last).to_have_text("No account matches.")


# Why this account?


def test_an_account_shows_what_changed_it_and_what_qualifies_its_score(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acme")
    expect(page.locator(".big .value")).to_have_text("35.0")
    notes = page.locator(".notes")
    expect(notes).to_contain_text("80.0")
    expect(notes).to_contain_text("knows better")
    expect(notes).to_contain_text("product-usage")
    expect(notes).to_contain_text("50\u202f%")
    # In the last seven days 83.5 became 35.0: tickets 50 -> 0, usage 33.5 -> 35.
    rows = page.locator(".waterfall tbody tr")
    expect(rows).to_have_text(
        ["From83.5", "support tickets−50.033.5", "product usage+1.535.0", "To35.0"]  # noqa: RUF001  a minus
    )
    page.locator(".quick button", has_text="1 day").click()
    expect(page.locator(".between")).to_contain_text("No change.")


def test_two_times_can_be_chosen_by_keyboard_and_are_in_the_address(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acme?from={NOW_MS - 61 * DAY_MS}&to={NOW_MS - 3 * DAY_MS}")
    rows = page.locator(".waterfall tbody tr")
    expect(rows.last).to_have_text("To75.5")
    page.get_by_label("To", exact=False).locator("visible=true").last.focus()
    page.keyboard.press("End")
    expect(rows.last).to_have_text("To35.0")
    assert "to=" not in page.url
    page.reload()
    expect(rows.last).to_have_text("To35.0")


def test_a_span_of_the_chart_is_chosen_by_dragging(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acme")
    box = page.locator(".plot .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60, steps=5)
    page.mouse.up()
    # From 60 days ago to 42 days ago nothing was published.
    expect(page.locator(".between")).to_contain_text("No change.")
    assert "from=" in page.url


def test_an_account_shows_its_forecast(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/falls")
    expect(page.get_by_label("If nothing happens")).to_contain_text(
        re.compile(r"It becomes attention on 1 Dec( 2026)?, 00:00, with 68\.5\.")
    )
    expect(page.locator(".legend")).to_contain_text("if nothing happens")
    go_to(page, f"{board.url}/accounts/stays")
    expect(page.get_by_label("If nothing happens")).to_contain_text(
        re.compile(r"It stays healthy until 22 Dec( 2026)?, 00:00 at least\.")
    )


def test_an_unknown_account_is_not_found(board: Board, open_page: OpenPage, complaints: list[str]) -> None:
    page = open_page(f"{board.url}/accounts/nobody")
    expect(page.locator("main [role=alert]")).to_contain_text("nobody")
    assert all("404" in complaint for complaint in complaints)
    complaints.clear()


# Filter and sort


def test_filters_sort_and_search_are_in_the_address(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    page.get_by_role("searchbox").fill("plain 3")
    expect(page.locator(".accounts tbody tr[data-id]")).to_have_count(10)
    page.get_by_label("Owner").select_option("Cy")
    expect(page.locator(".accounts tbody tr[data-id]")).to_have_count(5)
    page.get_by_role("button", name="Score").click()
    expect(page.locator(".accounts tbody tr[data-id] .who a").first).to_have_text("Plain 39")
    assert "q=plain+3" in page.url
    assert "owner=Cy" in page.url
    assert "order=desc" in page.url
    before = shown(page)
    page.reload()
    expect(page.locator(".accounts tbody tr[data-id]")).to_have_count(5)
    assert shown(page) == before
    expect(page.get_by_role("searchbox")).to_have_value("plain 3")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".table-head")).to_contain_text("47 accounts")


def test_a_band_is_chosen_by_its_tile(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    tile = page.locator(".tile", has_text="at-risk")
    tile.click()
    expect(tile).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".accounts tbody tr[data-id]")).to_have_count(1)
    assert shown(page) == ["Acme"]
    page.go_back()
    expect(page.locator(".table-head")).to_contain_text("47 accounts")


# Live


def test_rows_change_in_place_until_the_order_is_asked_for(
    board: Board, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/?q=plain&sort=name")
    page.get_by_role("button", name="Score").click()
    expect(page.locator(".accounts tbody tr[data-id] .who a").first).to_have_text("Plain 00")
    row = page.locator("tr[data-id=plain-00]")
    row.locator("a").focus()
    recording.add([score("plain-00", 99.5, revision=2)])
    expect(row.locator(".value")).to_have_text("99.5")
    assert shown(page)[0] == "Plain 00", "nothing jumps when data arrives"
    expect(row.locator("a")).to_be_focused()
    again = page.get_by_role("button", name="Order has changed")
    again.click()
    expect(page.locator(".accounts tbody tr[data-id] .who a").first).to_have_text("Plain 01")
    expect(again).to_be_hidden()
    recording.add([score("plain-00", 60.0, revision=3)])
    again.click()
    expect(page.locator(".accounts tbody tr[data-id] .who a").first).to_have_text("Plain 00")


def test_an_account_whose_score_has_not_changed_for_a_week_is_steady(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=stays")
    expect(page.locator("tr[data-id=stays]")).to_contain_text("Steady for 7 days")


# Keyboard and readers


def test_the_table_is_used_without_a_mouse(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?sort=name")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("plain")
    expect(page.locator(".table-head")).to_contain_text("40 accounts")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator("tr[data-id=plain-00] a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Plain 00")
    page.keyboard.press("u")
    expect(page.locator("h1")).to_have_text("Who needs me now?")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next or previous account")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_dialog_returns_the_focus(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acme")
    snooze = page.get_by_role("button", name="Snooze")
    snooze.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("1 week")
    page.keyboard.press("Escape")
    expect(snooze).to_be_focused()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(
    board: Board, open_page: OpenPage, complaints: list[str], view: str, dark: bool
) -> None:
    page = open_page(f"{board.url}{view}", dark=dark, still=True)
    page.locator(".bone").first.wait_for(state="detached")
    violations = Axe().run(page).response["violations"]
    serious = [
        f"{violation['id']}: {violation['help']} {[node['html'] for node in violation['nodes']][:3]}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    complaints[:] = [complaint for complaint in complaints if "404" not in complaint]


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_is_wider_than_the_screen(board: Board, open_page: OpenPage, complaints: list[str], view: str) -> None:
    page = open_page(f"{board.url}{view}")
    for width, height in (DESK, TABLET, PHONE):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            "width => document.documentElement.scrollWidth <= width", arg=width
        )  # charts shrink later
    complaints[:] = [complaint for complaint in complaints if "404" not in complaint]


def test_nothing_is_animated_with_reduced_motion(board: Board, recording: Recording, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=plain", still=True)
    recording.add([score("plain-05", 61.5, revision=2)])
    expect(page.locator("tr[data-id=plain-05] .value")).to_have_text("61.5")
    assert page.evaluate("document.getAnimations().length") == 0


# Other states


def test_a_board_without_accounts_explains_it_and_shows_the_first_one(open_page: OpenPage, tmp_path: Path) -> None:
    empty = Recording(tmp_path / "empty.jsonl")
    with Board(tmp_path / "board.log", "--from", str(empty.path), "--follow") as nobody:
        page = open_page(f"{nobody.url}/")
        expect(page.locator(".all .empty strong")).to_have_text("No account has a score yet.")
        empty.add([profile("first", "First"), score("first", 42.0)])
        expect(page.locator("tr[data-id=first] .value")).to_have_text("42.0")
        go_to(page, f"{nobody.url}/shadow")
        expect(page.locator(".empty strong")).to_have_text("No candidate policy is running.")
        page.close()


def test_a_board_with_a_token_shows_the_form_to_sign_in_first(
    open_page: OpenPage, complaints: list[str], tmp_path: Path
) -> None:
    empty = Recording(tmp_path / "empty.jsonl")
    empty.add([profile("first", "First"), score("first", 42.0)])
    settings = {"board_token": "correct horse battery staple"}
    with Board(tmp_path / "board.log", "--from", str(empty.path), settings=settings) as closed:
        page = open_page(f"{closed.url}/accounts/first?score=health")
        page.get_by_label("Your name").fill("Ann")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).not_to_be_empty()
        page.get_by_label("Your name").fill("Ann")
        page.get_by_label("Token").fill("correct horse battery staple")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_have_text("First")
        page.close()
    assert all("401" in complaint for complaint in complaints)
    complaints.clear()
