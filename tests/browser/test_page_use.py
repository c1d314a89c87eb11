"""The page as somebody uses it on a Monday morning: filters, keys, history, time zones, states, odd ids and names."""

# long because: one page; each test is one thing that a person does

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.board_process import Board, Recording
from tests.browser.conftest import PHONE, follow, go_to, wait_for_view
from tests.browser.records import DAY_MS, NOW_MS, alert, change, profile, score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page, Route

    from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

REVERSED = "Acme \u202egnp.exe\x1b[2J"
LARGE, SMALL = 3, 5
ROWS = ".accounts tbody tr[data-id]"


def records() -> Iterator[tuple]:
    """Three large accounts of Ann and five small ones of Bo: each falls; odd ids and states besides."""
    for index in range(LARGE + SMALL):
        is_large = index < LARGE
        account, name = f"acc-{index}", f"Account {index}"
        owner, segment, tier = ("Ann", "large", "gold") if is_large else ("Bo", "small", "silver")
        yield profile(account, name, owner=owner, segment=segment, tier=tier, arr=1000.0 * index)
        value = 30.0 + index * 5
        yield change(account, value - 5, value + 20 + index, time=NOW_MS - 20 * DAY_MS)
        yield change(account, value + 20 + index, value, time=NOW_MS - 2 * DAY_MS + index, revision=2)
        yield score(account, value, segment=segment, revision=2)
        yield alert(account, name, value, starts_at=NOW_MS - 2 * DAY_MS + index)
    override = {"reason": REVERSED, "since": NOW_MS - DAY_MS, "expires_at": NOW_MS + DAY_MS, "score": 80.0, "by": "Bo"}
    states: dict[str, Any] = {"override": override, "catching_up": True, "stalled_sources": ["billing"]}
    yield profile("state", REVERSED)
    yield profile("fresh", "Fresh <b>Start</b>")
    yield score("fresh", 75.0, segment="odd", state="new", new_until=NOW_MS + 9 * DAY_MS)
    yield profile("worse", "Worse")
    yield score("worse", 30.0, segment="odd")
    yield from worsening()
    yield score("state", 90.0, segment="odd", **states)
    for account in (".", "..", "=..", "a/..", "%2E%2E"):
        yield profile(account, f"Id {account}")
        yield score(account, 95.0, segment="odd")
    for index in range(60):
        yield score(f"many-{index:02}", 96.0, segment="many")


def worsening() -> Iterator[tuple]:
    """An alert of `attention` whose place one of `at-risk` takes: the end of the first, then the second."""
    began, worsened = NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS
    yield alert("worse", "Worse", 60.0, starts_at=began)
    ended = {"id": "r-worse", "status": "resolved", "ends_at": worsened, "worsened_to": "band:health:at-risk"}
    yield alert("worse", "Worse", 60.0, starts_at=began, **ended)
    yield alert("worse", "Worse", 30.0, starts_at=worsened, worsened_from="band:health:attention")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    recorded = Recording(tmp_path_factory.mktemp("use") / "records.jsonl")
    recorded.add(records())
    return recorded


@pytest.fixture(scope="module")
def board(recording: Recording) -> Iterator[Board]:
    with Board(recording.path.with_suffix(".log"), "--from", str(recording.path), "--follow") as running:
        yield running


def tiles(page: Page) -> dict[str, str]:
    """The number of accounts on each tile, by band."""
    names, counts = page.locator(".tile .word").all_inner_texts(), page.locator(".tile b").all_inner_texts()
    return dict(zip(names, counts, strict=True))


def chips(page: Page) -> list[str]:
    """The active filters as the page names them."""
    return page.locator(".active .chip > span:first-child").all_inner_texts()


def wait_for_value(page: Page, expression: str, is_right: Callable[[float], bool]) -> None:
    """Wait for the value of an expression. `page.wait_for_function` evaluates in the page, which its policy refuses."""
    end_s = time.monotonic() + 20
    while not is_right(value := page.evaluate(expression)):
        assert time.monotonic() < end_s, f"{expression} is still {value}"
        page.wait_for_timeout(50)


# Filters


def test_cards_lists_and_alerts_obey_the_filters(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    page.get_by_label("Segment").select_option("large")
    expect(page.locator(ROWS)).to_have_count(LARGE)
    expect(page.get_by_role("region", name="Accounts by band")).to_contain_text("3 accounts")
    assert tiles(page) == {"healthy": "0", "attention": "1", "at-risk": "2"}
    assert sorted(page.locator(".fallers .name").all_inner_texts()) == ["Account 0", "Account 1", "Account 2"]
    expect(page.get_by_label("Open alerts").locator("li")).to_have_count(LARGE)
    expect(page.get_by_label("Open alerts")).not_to_contain_text("Account 3")
    page.locator("select[name=band]").select_option("at-risk")
    expect(page.get_by_label("Open alerts").locator("li")).to_have_count(2)
    expect(page.locator(".fallers li")).to_have_count(2)
    assert tiles(page) == {"healthy": "0", "attention": "1", "at-risk": "2"}, "the numbers to choose from"
    follow(page, page.get_by_role("link", name="All alerts"), "/alerts")
    expect(page.locator(".alerts li")).to_have_count(2)
    assert chips(page) == ["Band: at-risk", "Segment: large"]
    page.get_by_role("button", name=re.compile("Band: at-risk")).click()
    expect(page.locator(".alerts li")).to_have_count(LARGE)
    page.get_by_role("searchbox").fill("account 1")
    expect(page.locator(".alerts li")).to_have_count(1)


def test_a_figure_of_a_filter_follows_the_stream(board: Board, recording: Recording, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?segment=moving")
    expect(page.get_by_role("region", name="Accounts by band")).to_contain_text("0 accounts")
    recording.add([score("moves", 99.0, segment="moving")])
    expect(page.get_by_role("region", name="Accounts by band")).to_contain_text("1 account")
    recording.add([("health.scores", "moves", None, NOW_MS)])
    expect(page.get_by_role("region", name="Accounts by band")).to_contain_text("0 accounts")


def test_active_filters_without_a_field_are_named_and_can_be_removed(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?tier=gold&band=attention&band=at-risk&q=account")
    assert chips(page) == ["Search: account", "Band: attention", "Band: at-risk", "Tier: gold"]
    expect(page.locator("select[name=band]")).to_have_value(re.compile("many"))
    expect(page.locator("select[name=band]").locator("option:checked")).to_have_text("2 chosen")
    page.get_by_role("button", name=re.compile("Band: at-risk")).click()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator("select[name=band]")).to_have_value("attention")
    page.locator("select[name=band]").select_option(label="Any")
    expect(page.locator(ROWS)).to_have_count(LARGE)
    go_to(page, f"{board.url}/alerts?rule=band:health:at-risk&tier=silver")
    assert chips(page) == ["Tier: silver", "Rule: band:health:at-risk"]
    expect(page.locator(".empty strong")).to_have_text("No alert matches.")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".alerts li")).to_have_count(LARGE + SMALL + 1)  # and one that worsened


# Keys, history, labels


def test_escape_closes_what_is_open(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acc-0")
    tables = page.locator("details.astable")
    tables.locator("summary").click()
    expect(tables).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(tables).not_to_have_attribute("open", "")
    expect(tables.locator("summary")).to_be_focused()
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_back_and_forward_restore_filters_and_position(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    page.get_by_label("Owner").select_option("Ann")
    expect(page.locator(ROWS)).to_have_count(LARGE)
    page.get_by_role("searchbox").press_sequentially("account 2", delay=250)
    expect(page.locator(ROWS)).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".active")).to_be_hidden()
    for expected in (1, LARGE):
        page.go_back()
        expect(page.locator(ROWS)).to_have_count(expected)
    expect(page.get_by_label("Owner")).to_have_value("Ann")
    page.go_forward()
    expect(page.get_by_role("searchbox")).to_have_value("account 2")
    go_to(page, f"{board.url}/?segment=many")
    page.mouse.wheel(0, 900)
    wait_for_value(page, "history.state?.scroll ?? 0", lambda scroll: scroll > 500)
    position = page.evaluate("scrollY")
    page.mouse.click(400, 450)  # a row that is in sight: a locator would scroll
    page.wait_for_url("**/accounts/many-*")
    wait_for_view(page)
    page.go_back()
    wait_for_value(page, "scrollY", lambda now: abs(now - position) < 3)
    expect(page.get_by_role("button", name="Order has changed")).to_be_hidden()


@pytest.mark.parametrize("heading", ["Account", "Score", "7 days", "Alerts", "ARR"])
def test_a_second_click_on_a_heading_reverses_the_order(board: Board, open_page: OpenPage, heading: str) -> None:
    page = open_page(f"{board.url}/?q=account&sort=as_of")
    cell = page.get_by_role("columnheader", name=heading, exact=True)
    orders: list[str | None] = []
    rows: list[list[str]] = []
    for expected in (None, "other", "first"):
        cell.get_by_role("button").click()
        if expected is None:
            expect(cell).to_have_attribute("aria-sort", re.compile("."))
        else:
            expect(cell).not_to_have_attribute("aria-sort", orders[-1])
        expect(page.locator(".accounts")).not_to_have_attribute("aria-busy", "true")
        orders.append(cell.get_attribute("aria-sort"))
        rows.append(page.locator(f"{ROWS} .who a").all_inner_texts())
    assert orders[0] == orders[2] != orders[1]
    assert rows[0] == rows[2]
    assert heading == "Alerts" or rows[1] == rows[0][::-1]  # all accounts have one alert


@pytest.mark.parametrize("view", ["/", "/alerts", "/accounts/acc-0"])
def test_a_label_leads_to_its_control(board: Board, open_page: OpenPage, view: str) -> None:
    page = open_page(f"{board.url}{view}")
    labels = page.locator("main label")
    assert labels.count() >= 2
    for label in labels.all():
        label.click(position={"x": 3, "y": 3})
        assert label.evaluate("label => label.control === document.activeElement"), label.inner_text()


# Paths and ids


def test_an_unknown_path_is_a_page_of_its_own(board: Board, open_page: OpenPage, complaints: list[str]) -> None:
    page = open_page(f"{board.url}/")
    for path in ("/nope", "/accounts/a/b", "/alerts/x"):
        answer = page.goto(f"{board.url}{path}")
        assert answer is not None
        assert answer.status == 404
        expect(page.locator("h1")).to_have_text("This page does not exist.")
        expect(page.locator("main").get_by_role("link", name="accounts")).to_have_attribute("href", "/")
        assert page.locator("script").count() == 0
    assert all("404" in complaint for complaint in complaints)
    complaints.clear()


@pytest.mark.parametrize("account", [".", "..", "=..", "a/..", "%2E%2E"])
def test_an_id_that_looks_like_a_folder_opens_its_page(board: Board, open_page: OpenPage, account: str) -> None:
    page = open_page(f"{board.url}/?segment=odd&sort=name")
    page.locator(f"tr[data-id='{account}'] a").click()
    expect(page.locator("h1")).to_have_text(f"Id {account}")
    expect(page.locator(".account-head .id")).to_have_text(account)
    expect(page.get_by_label("Timeline")).to_contain_text("no items")
    expect(page.get_by_label("What changed it")).to_contain_text("No change.")
    page.reload()
    expect(page.locator("h1")).to_have_text(f"Id {account}")


# Texts and figures


def test_a_name_cannot_turn_the_text_around_it(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=state")
    link = page.locator("tr[data-id=state] a")
    expect(link).to_have_text("Acme \ufffdgnp.exe\ufffd[2J")
    assert link.get_attribute("title") == "Acme \ufffdgnp.exe\ufffd[2J"
    assert link.evaluate("link => getComputedStyle(link).unicodeBidi") == "isolate"
    follow(page, link, "/accounts/state")
    expect(page.locator("h1")).to_have_text("Acme \ufffdgnp.exe\ufffd[2J")
    assert "\u202e" not in page.title() + page.locator("body").inner_text()


def test_catching_up_held_and_idle_are_shown_everywhere(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/?q=state")
    expect(page.locator("tr[data-id=state] .band .sub")).to_have_text("overridden, catching up, billing idle")
    expect(page.locator(".strip dl > div", has_text="Catching up")).to_contain_text("1 account")
    expect(page.locator(".strip dl > div", has_text="Idle sources")).to_contain_text("billing")
    go_to(page, f"{board.url}/accounts/state")
    notes = page.locator(".notes")
    for text in ("Overridden: 80.0", "1 idle source: billing", "held at their last value", "Catching up"):
        expect(notes).to_contain_text(text)
    go_to(page, f"{board.url}/processor")
    expect(page.locator("tr", has_text="billing")).to_contain_text("idle: 1 account held at its last values")


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_new_account_says_until_which_utc_day(board: Board, open_page: OpenPage, zone: str) -> None:
    page = open_page(f"{board.url}/?segment=odd&q=fresh", zone=zone)
    expect(page.locator("tr[data-id=fresh] .band .sub")).to_have_text("new until 1 Dec")
    go_to(page, f"{board.url}/accounts/fresh")
    expect(page.locator(".notes")).to_contain_text("New until 1 Dec (UTC): alerts about its score begin then.")
    go_to(page, f"{board.url}/?q=state")
    expect(page.locator("tr[data-id=state] .band .sub")).not_to_contain_text("new until")


def test_an_alert_that_worsened_is_nowhere_called_resolved(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/worse")
    alerts = page.get_by_role("region", name="Alerts")
    expect(alerts.locator("> .alerts li")).to_have_count(1)
    alerts.locator("summary").click()
    past = alerts.locator("details li")
    expect(past.locator(".status")).to_have_text("Worsened to at-risk on 21 Nov, 00:00, began 19 Nov, 00:00")
    timeline = page.get_by_label("Timeline")
    expect(timeline.locator("li")).to_have_count(2)
    expect(timeline.locator(".good")).to_have_count(0)
    page.locator("details.astable summary").click()
    marks = page.locator("details.astable").last
    expect(marks).to_contain_text("alert band:health:attention worsened to at-risk")
    expect(page.locator("main")).not_to_contain_text(re.compile("resolved", re.IGNORECASE))
    go_to(page, f"{board.url}/?q=worse")
    expect(page.locator("main")).not_to_contain_text(re.compile("resolved", re.IGNORECASE))
    go_to(page, f"{board.url}/alerts?status=resolved&q=worse")
    expect(page.locator(".empty strong")).to_have_text("No alert matches.")
    expect(page.locator(".alerts li")).to_have_count(0)
    go_to(page, f"{board.url}/alerts?q=worse")
    expect(page.locator(".alerts li")).to_have_count(1)


def test_figures_of_the_strip_keep_their_positions(board: Board, recording: Recording, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    labels = page.locator(".strip dt")
    expect(labels).to_have_text(["Data as of", "Catching up", "Idle sources"])
    recording.add([score("state", 90.0, segment="odd", revision=2)])
    expect(labels).to_have_text(["Data as of", "Idle sources"])
    recording.add([score("state", 90.0, segment="odd", revision=3, catching_up=True)])
    expect(labels).to_have_text(["Data as of", "Catching up", "Idle sources"])


def test_bars_stay_inside_their_scale(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/accounts/acc-7", PHONE)
    expect(page.locator(".rail span").first).to_be_visible()
    outside = page.locator(".rail").evaluate_all("""rails => rails.filter(rail => {
      const outer = rail.getBoundingClientRect(), inner = rail.firstElementChild.getBoundingClientRect();
      return inner.left < outer.left - 0.5 || inner.right > outer.right + 0.5;
    }).length""")
    assert outside == 0
    deltas = [
        float(text.replace("\u2212", "-"))
        for text in page.locator(".waterfall .fall, .waterfall .rise").all_inner_texts()
    ]
    widths = page.locator(".rail span").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert len(deltas) == len(widths) > 0
    scale = max(width / abs(delta) for width, delta in zip(widths, deltas, strict=True))
    assert [width / scale for width in widths] == pytest.approx([abs(delta) for delta in deltas], abs=0.2)


@pytest.mark.parametrize(
    ("zone", "day", "clock"), [("America/Los_Angeles", "19 Nov", "16:00"), ("Asia/Tokyo", "20 Nov", "09:00")]
)
def test_times_are_those_of_the_reader_with_utc_on_hover(
    board: Board, open_page: OpenPage, zone: str, day: str, clock: str
) -> None:
    page = open_page(f"{board.url}/accounts/acc-0", zone=zone)
    since = page.locator(".alerts .status time")
    expect(since).to_have_text(f"{day}, {clock}")
    assert since.get_attribute("title") == "20 Nov 2026, 00:00:00 UTC"
    expect(page.get_by_label("Timeline").locator("h3").first).to_contain_text(day)
    entry = page.get_by_label("Timeline").locator("li time").first
    expect(entry).to_have_text(clock)
    assert entry.get_attribute("title") == "20 Nov 2026, 00:00:00 UTC"
    go_to(page, f"{board.url}/?q=account+0")
    expect(page.locator("tr[data-id=acc-0] .why")).to_have_text(
        f"Since {day}: support tickets \u221250, product usage +30"
    )
    expect(page.locator(".fallers .why")).to_contain_text(f"Since {day}")


# Freshness


def of_a_broker(route: Route) -> None:
    """The session of a board that reads from a broker."""
    session = route.fetch().json()
    route.fulfill(json={**session, "recorded": False})


def test_the_number_of_dead_letters_says_that_it_includes_handled_ones(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    letters = [{"topic": "billing.dlq", "records": 3}, {"topic": "surveys.dlq", "records": 1}]

    def with_letters(route: Route) -> None:
        summary = route.fetch().json()
        route.fulfill(json={**summary, "processor": {**summary["processor"], "dead_letters": letters}})

    group = {"topic": "billing.dlq", "reason": "invalid_field", "open": 1, "replayed": 2, "discarded": 0}
    groups = {"items": [{**group, "first": NOW_MS - DAY_MS, "last": NOW_MS, "replayable": True}]}
    page.route("**/api/session", of_a_broker)
    page.route("**/api/summary", with_letters)
    page.route("**/api/dead-letters", lambda route: route.fulfill(json=groups))
    page.route("**/api/stream*", lambda route: route.fulfill(content_type="text/event-stream", body=": connected\n\n"))
    page.reload()
    wait_for_view(page)
    figure = page.locator(".strip dl > div", has_text="Dead letters").locator("dd")
    expect(figure).to_have_text("4")
    assert "vitals dlq list" in (figure.get_attribute("title") or "")
    follow(page, page.get_by_role("link", name="Details"), "/processor")
    card = page.locator(".card", has=page.get_by_role("heading", name="Dead letters"))
    expect(card.locator("tbody tr").first.locator("th, td.right")).to_have_text(
        [re.compile("billing.dlqinvalid_field"), "1", "2", "0", re.compile(r"\d"), re.compile("Show.*Replay.*Discard")]
    )


def test_a_page_without_a_worker_is_not_called_live(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/")
    expect(page.locator(".live")).to_have_text("Recording")
    since = NOW_MS + 13 * 3_600_000

    def without_a_worker(route: Route) -> None:
        summary = route.fetch().json()
        route.fulfill(
            json={**summary, "processor": {**summary["processor"], "workers": 0, "no_worker_since_ms": since}}
        )

    page.route("**/api/session", of_a_broker)
    page.route("**/api/summary", without_a_worker)
    page.route("**/api/stream*", lambda route: route.fulfill(content_type="text/event-stream", body=": connected\n\n"))
    page.reload()
    wait_for_view(page)
    expect(page.locator(".banner")).to_contain_text("No worker is running since 22 Nov, 13:00 or before")
    expect(page.locator(".live")).to_have_text(re.compile("No worker|Not live"))
