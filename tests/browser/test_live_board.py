"""The page with a real Kafka, worker and board: it shows the contents of the topics within 2 s and reconnects."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest
from playwright.sync_api import expect

from schemas.topics import ERROR_HEADER
from tests.browser.board_process import Board
from tests.browser.conftest import DESK, PHONE
from tests.faults.deployment import PATIENCE_S, Deployment
from tests.faults.events import DAY_MS, END_MS, TICKETS, company, event
from tests.faults.topic_log import Message, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page, Route

    from tests.browser.conftest import OpenPage
    from tests.faults.topic_log import Codec

pytestmark = [pytest.mark.browser, pytest.mark.broker]

ACCOUNTS = 60
LIVE_MS = 2_000
"""An event is shown within this time."""
ROUNDED = 0.05 + 1e-9
"""The page shows one decimal."""
ROWS = """rows => rows.map(row => ({
  id: row.dataset.id,
  value: row.querySelector('.value').textContent,
  band: row.querySelector('.band .word').textContent,
}))"""


Result = TypeVar("Result")


class DeploymentInThreads(Deployment):
    """A deployment whose clients run in another thread, because the browser's client has an event loop in this one."""

    def send(self, messages: Iterable[Message], codec: Codec | None = None, *, at_once: bool = False) -> int:
        return _in_a_thread(lambda: super(DeploymentInThreads, self).send(messages, codec, at_once=at_once))

    def until(self, holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
        return _in_a_thread(lambda: super(DeploymentInThreads, self).until(holds, what, patience_s))

    def until_done(self, patience_s: float = PATIENCE_S) -> float:
        return _in_a_thread(lambda: super(DeploymentInThreads, self).until_done(patience_s))

    def documents(self, topic: str) -> list[dict]:
        return _in_a_thread(lambda: super(DeploymentInThreads, self).documents(topic))

    def scores(self) -> dict[str, dict]:
        return _in_a_thread(super().scores)


def _in_a_thread(call: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A worker that has applied the events of a company and waits for more; it does not wait for slow sources."""
    with DeploymentInThreads(tmp_path_factory.mktemp("live"), merge_wait_s=0.2) as running:
        running.send(company(ACCOUNTS, 40))
        running.start()
        running.until_done()
        yield running


@pytest.fixture(scope="module")
def board(deployment: Deployment) -> Iterator[Board]:
    with Board(deployment.folder / "board.log", settings=deployment.settings) as running:
        yield running


def rows_of(page: Page, count: int) -> dict[str, tuple[float, str]]:
    """Every row of the table as (value, band), by scrolling to the end of it."""
    rows: dict[str, tuple[float, str]] = {}
    while len(rows) < count:
        for row in page.locator(".accounts tbody tr[data-id]").evaluate_all(ROWS):
            rows[row["id"]] = (float(row["value"]), row["band"])
        page.mouse.wheel(0, 400)
    return rows


def test_every_value_on_the_page_is_that_of_the_topic(
    deployment: Deployment, board: Board, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/")
    expected = deployment.scores()
    rows = rows_of(page, len(expected))
    assert rows.keys() == expected.keys()
    for account, message in expected.items():
        score = message["scores"]["health"]
        value, band = rows[account]
        assert abs(value - score["value"]) <= ROUNDED, account
        assert band == score["band"], account
    bands = [message["scores"]["health"]["band"] for message in expected.values()]
    for band in set(bands):
        expect(page.locator(".tile", has_text=band).locator("b")).to_have_text(str(bands.count(band)))


def test_the_page_of_an_account_has_its_factors_and_changes(
    deployment: Deployment, board: Board, open_page: OpenPage
) -> None:
    documents = deployment.documents("health.score-changes")
    moved = {record["account_id"] for record in documents if record["from"] != 0}  # since it began
    account, message = min(
        (record for record in deployment.scores().items() if record[0] in moved),
        key=lambda record: record[1]["scores"]["health"]["value"],
    )
    score = message["scores"]["health"]
    page = open_page(f"{board.url}/accounts/{account}")
    expect(page.locator(".big .value")).to_have_text(f"{score['value']:.1f}")
    gives = page.locator(".factors tbody tr td:nth-child(5)").all_inner_texts()
    assert len(gives) == len(score["factors"])
    for text, factor in zip(gives, score["factors"], strict=True):
        assert abs(float(text) - factor["contribution"]) <= ROUNDED, factor
    changes = [record for record in documents if record["account_id"] == account]
    page.locator(".quick button", has_text="90 days").click()
    first = next(record for record in changes if record["from"] == 0)
    expect(page.locator(".waterfall tbody tr").first).to_contain_text(f"{first['to']:.1f}")
    expect(page.locator(".waterfall tbody tr").last).to_contain_text(f"{score['value']:.1f}")


class Shot(NamedTuple):
    """A picture: its file, the view, the size and the colour scheme."""

    name: str
    path: str
    size: tuple[int, int] = DESK
    dark: bool = False


SHOTS = [
    Shot("board", "/"),
    Shot("board-dark", "/", dark=True),
    Shot("board-account", "/accounts/{worst}"),
    Shot("board-phone", "/accounts/{worst}", PHONE),
]


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_pictures_of_the_page(
    deployment: Deployment, board: Board, open_page: OpenPage, pictures: Path, shot: Shot
) -> None:
    """The pictures of the documentation, if BOARD_PICTURES names their folder."""
    values = {account: message["scores"]["health"]["value"] for account, message in deployment.scores().items()}
    worst = min(values, key=lambda account: values[account])
    scale = 1 if shot.size == DESK else 2
    page = open_page(board.url + shot.path.format(worst=worst), shot.size, dark=shot.dark, still=True, scale=scale)
    expect(page.locator(".bone")).to_have_count(0)
    expect(page.locator(".u-over").first).to_be_visible()
    page.screenshot(path=pictures / f"{shot.name}.png")
    assert (pictures / f"{shot.name}.png").stat().st_size > 0


def ticket(number: int, account: str) -> Message:
    return event(
        TICKETS, f"live-{number}", account, END_MS + number, ticket_id=f"L{number}", status="opened", priority="urgent"
    )


def best_in_tickets(deployment: Deployment) -> str:
    """An account that loses points by another urgent ticket."""
    points = {
        account: factor["points"]
        for account, message in deployment.scores().items()
        for factor in message["scores"]["health"]["factors"]
        if factor["measure"] == "support_tickets"
    }
    return max(points, key=lambda account: points[account])


def test_an_event_is_on_the_page_within_two_seconds(deployment: Deployment, board: Board, open_page: OpenPage) -> None:
    account = best_in_tickets(deployment)
    page = open_page(f"{board.url}/?q={account}")
    value = page.locator(f"tr[data-id='{account}'] .value")
    before = value.inner_text()
    deployment.send([ticket(1, account)])
    expect(value).not_to_have_text(before, timeout=LIVE_MS)
    deployment.until_done()
    assert abs(float(value.inner_text()) - deployment.scores()[account]["scores"]["health"]["value"]) <= ROUNDED
    # An urgent ticket weighs 4 of 10, and tickets 20 of 100: it costs 8 points.
    assert float(before) - float(value.inner_text()) == pytest.approx(8, abs=0.11)


def test_an_event_is_on_the_page_of_its_account_within_two_seconds(
    deployment: Deployment, board: Board, open_page: OpenPage
) -> None:
    account = best_in_tickets(deployment)
    page = open_page(f"{board.url}/accounts/{account}")
    value = page.locator(".big .value")
    before = value.inner_text()
    deployment.send([ticket(2, account)])
    expect(value).not_to_have_text(before, timeout=LIVE_MS)
    expect(page.locator(".waterfall tbody tr").last).to_contain_text(value.inner_text())


def test_an_acknowledgement_and_a_snooze_are_written_and_shown(
    deployment: Deployment, board: Board, open_page: OpenPage
) -> None:
    page = open_page(f"{board.url}/alerts")
    first = page.locator(".alerts > li").first
    name = first.locator("a.name").inner_text()
    first = page.locator(".alerts > li", has=page.get_by_role("link", name=name, exact=True)).first
    href = first.locator("a.name").get_attribute("href")
    assert href is not None
    account = href.rpartition("/")[2]
    first.get_by_role("button", name="Acknowledge").click()
    expect(first).to_contain_text("Acknowledged by local")
    first.get_by_role("button", name="Snooze").click()
    page.get_by_label("1 week").check()
    page.get_by_role("dialog").get_by_role("button", name="Snooze").click()
    expect(first).to_contain_text("Snoozed until")

    def sent_controls() -> dict[str, dict]:
        kinds = ("acknowledge", "snooze")
        return {record["kind"]: record for record in deployment.documents("controls") if record["kind"] in kinds}

    deployment.until(lambda: len(sent_controls()) == 2, "both are in the topic", patience_s=10)
    sent = sent_controls()
    assert {record["account_id"] for record in sent.values()} == {account}
    # Only events move time here: a week ahead is a week after the newest event.
    assert sent["snooze"]["until"] == board.ask("/api/summary")["time"] + 7 * DAY_MS


def assert_a_late_answer_closes_nothing(page: Page, card: Locator, button: str) -> None:
    """Letters that were opened while the list was loaded again stay open."""
    held: list[Route] = []
    page.route("**/api/dead-letters", lambda route: held.append(route))  # noqa: PLW0108  it cannot be a method of C
    card.get_by_role("button", name=button).click()
    card.get_by_role("button", name="Refresh").click()
    card.get_by_role("button", name=button).click()
    expect(card.locator("pre")).to_have_count(2)
    with page.expect_response("**/api/dead-letters"):
        held.pop(0).continue_()
    page.unroute("**/api/dead-letters")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(card.locator("pre")).to_have_count(2)


def test_dead_letters_are_read_replayed_and_discarded_on_the_page(
    deployment: Deployment, board: Board, open_page: OpenPage
) -> None:
    account = best_in_tickets(deployment)
    mended = ticket(3, account)
    partition = partition_of(account.encode())
    error = {"topic": TICKETS, "partition": partition, "offset": 10**6, "message": "a test"}

    def dead(value: bytes | None, reason: str) -> Message:
        headers = tuple((ERROR_HEADER + name, str(text).encode()) for name, text in {**error, "reason": reason}.items())
        return Message(f"{TICKETS}.dlq", account.encode(), value, END_MS, headers, partition)

    deployment.send([dead(mended.value, "too_early"), dead(b"{", "broken"), dead(b"[", "broken")])
    page = open_page(f"{board.url}/processor")
    card = page.get_by_role("region", name="Dead letters")
    before = deployment.scores()[account]["scores"]["health"]["value"]
    card.get_by_role("button", name=f"Show {TICKETS}.dlq, broken").click()
    expect(card.locator("pre")).to_have_text(["[", "{"])
    assert_a_late_answer_closes_nothing(page, card, f"Show {TICKETS}.dlq, broken")
    card.get_by_role("button", name=f"Replay {TICKETS}.dlq, too_early").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    expect(card.get_by_role("status")).to_have_text("Replayed 1 dead letter.")
    card.get_by_role("button", name=f"Discard {TICKETS}.dlq, broken").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    card.get_by_role("button", name=f"Discard {TICKETS}.dlq, broken").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(card.get_by_role("status")).to_have_text("Discarded 2 dead letters.")
    expect(card.get_by_role("button", name=f"Replay {TICKETS}.dlq, too_early")).to_be_disabled()
    deployment.until_done()
    deployment.until(
        lambda: deployment.scores()[account]["scores"]["health"]["value"] < before, "the replayed ticket counts"
    )


def test_the_page_shows_that_it_is_not_live_and_reconnects(
    deployment: Deployment, board: Board, open_page: OpenPage, complaints: list[str]
) -> None:
    account = best_in_tickets(deployment)
    page = open_page(f"{board.url}/?q={account}")
    value = page.locator(f"tr[data-id='{account}'] .value")
    expect(page.locator(".live")).to_have_text("Live")
    before = value.inner_text()
    board.kill()
    expect(page.locator(".banner")).to_contain_text("Not live since")
    expect(value).to_have_text(before)
    deployment.send([ticket(3, account)])
    deployment.until_done()
    board.start()
    expect(page.locator(".live")).to_have_text("Live", timeout=15_000)
    expect(page.locator(".banner")).to_be_hidden()
    expect(value).not_to_have_text(before, timeout=LIVE_MS)
    assert abs(float(value.inner_text()) - deployment.scores()[account]["scores"]["health"]["value"]) <= ROUNDED
    before = value.inner_text()
    deployment.send([ticket(4, account)])
    expect(value).not_to_have_text(before, timeout=LIVE_MS)
    assert all("Failed to load resource" in complaint for complaint in complaints)
    complaints.clear()


def test_the_board_shows_the_lag_of_the_workers(board: Board, open_page: OpenPage) -> None:
    page = open_page(f"{board.url}/processor")
    expect(page.locator(".strip")).to_contain_text("Lag")
    expect(page.locator(".strip")).to_contain_text("0 records", timeout=30_000)
    expect(page.locator("main")).to_contain_text(json.dumps(ACCOUNTS))
