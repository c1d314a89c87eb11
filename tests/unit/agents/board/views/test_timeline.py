"""The timeline: all items in one order, each item on exactly one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.board.state.alerts import PAST_OF_ACCOUNT, Episodes, state_of
from agents.board.state.board import Record
from agents.board.views.inputs import Inputs, RawEvent, SearchResult
from agents.board.views.text import event_text
from agents.board.views.timeline import KINDS, page_of, position_of, topics_of
from agents.board.views.types import Timeline
from schemas.outputs import Alert
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import DAY_MS
from tests.driving.boards import NOON, alert, board_of, score_history

HOUR_MS = DAY_MS // 24
BOARD = board_of(
    *score_history("acme", 90.0, 80.0, 30.0), alert("acme", acknowledged_at=NOON + 7, acknowledged_by="ann")
)


class Log:
    """Inputs in memory: topic -> events in the order of their offsets; reads `block` records a call and topic."""

    def __init__(self, topics: Mapping[str, Sequence[int]], block: int = 100) -> None:
        self._topics, self._block = topics, block

    def find(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        del limit
        records, ends, horizon, scanned = [], {}, 0, 0
        for topic in topics:
            times = self._topics.get(topic, ())
            end = offsets.get(topic, len(times))
            first = max(end - self._block, 0)
            for offset in range(first, end):
                if times[offset] <= until:
                    value = {"id": f"{topic}{offset}", "account_id": account, "time": times[offset], "kind": "pulse"}
                    records.append(RawEvent(topic, offset, times[offset], msgspec.json.encode(value)))
            scanned += end - first
            ends[topic] = first
            if first:
                horizon = max(horizon, times[first])
        return SearchResult(records, ends, horizon, scanned)

    def close(self) -> None:
        pass


def page(inputs: Inputs, before: int | None = None, cursor: str | None = None, **options: Any) -> Timeline:
    account, position = BOARD.state.accounts["acme"], position_of(cursor, before, BUILT_IN)
    kinds, limit = frozenset(options.pop("kinds", KINDS)), options.pop("limit", 50)
    result = inputs.find("acme", topics_of(kinds, BUILT_IN), position.offsets, position.until, limit)
    return page_of(BOARD.state, account, position, result, BUILT_IN, limit=limit, kinds=kinds)


def test_items_of_all_kinds_are_in_one_order_newest_first() -> None:
    timeline = page(Log({"billing": [NOON - DAY_MS - 1], "controls": [NOON + 3], "accounts": [NOON - 3 * DAY_MS]}))
    assert [(item.time - NOON, item.kind) for item in timeline.items] == [
        (7, "alert"),
        (3, "control"),
        (0, "alert"),
        (0, "score"),
        (-DAY_MS, "score"),
        (-DAY_MS - 1, "event"),
        (-2 * DAY_MS, "score"),
        (-3 * DAY_MS, "profile"),
    ]
    assert (timeline.next, timeline.complete, timeline.problem) == (None, True, None)


def test_items_after_the_time_asked_for_are_not_shown() -> None:
    timeline = page(Log({"billing": [NOON - 5, NOON]}), before=NOON - 1)
    assert [item.time - NOON for item in timeline.items] == [-5, -DAY_MS, -2 * DAY_MS]


def test_only_topics_of_the_kinds_asked_for_are_read() -> None:
    timeline = page(Log({"billing": [NOON], "controls": [NOON]}), kinds=["control"])
    assert [item.topic for item in timeline.items] == ["controls"]


def test_events_of_sources_of_the_policy_and_of_other_topics_are_read_and_named() -> None:
    own = source_of_fields("field-visits", "crm.visits", [("minutes", "number")])
    sources = BUILT_IN.renamed({"billing": "erp.billing", "controls": "app.controls"}).extended([own])
    log, position = Log({"crm.visits": [NOON + 9], "erp.billing": [NOON + 8], "app.controls": [NOON + 10]}), NOON + 10
    result = log.find("acme", topics_of(frozenset({"event"}), sources), {}, position, 50)
    account = BOARD.state.accounts["acme"]
    timeline = page_of(
        BOARD.state, account, position_of(None, None, sources), result, sources, limit=2, kinds=frozenset({"event"})
    )
    assert [(item.topic, item.title) for item in timeline.items] == [
        ("crm.visits", "field visits event"),
        ("erp.billing", "pulse"),
    ]


TIMES = st.lists(st.integers(NOON - 3 * DAY_MS, NOON), max_size=12)
TOPICS = st.fixed_dictionaries({"billing": TIMES, "surveys": TIMES, "controls": TIMES})


def all_pages(log: Log, limit: int) -> list[tuple[int, str, str]]:
    shown: list[tuple[int, str, str]] = []
    cursor = None
    for _ in range(100):
        timeline = page(log, cursor=cursor, limit=limit)
        assert len(timeline.items) <= limit
        times = [item.time for item in timeline.items]
        assert times == sorted(times, reverse=True)
        shown += [
            (item.time, item.topic, item.data["id"] if isinstance(item.data, dict) else item.title)
            for item in timeline.items
        ]
        cursor = timeline.next
        if cursor is None:
            return shown
    pytest.fail("the pages never end")


@given(TOPICS, st.integers(1, 5), st.integers(1, 4))
def test_each_item_is_on_exactly_one_page_whatever_the_order_of_its_topic(
    topics: dict[str, list[int]], limit: int, block: int
) -> None:
    shown = all_pages(Log(topics, block), limit)
    assert len(set(shown)) == len(shown) == sum(map(len, topics.values())) + 5


@given(TOPICS, st.integers(1, 5), st.integers(1, 4))
def test_pages_are_in_order_if_their_topics_are(topics: dict[str, list[int]], limit: int, block: int) -> None:
    shown = all_pages(Log({topic: sorted(times) for topic, times in topics.items()}, block), limit)
    assert [time for time, _, _ in shown] == sorted((time for time, _, _ in shown), reverse=True)


@pytest.mark.parametrize(
    ("topic", "event", "text"),
    [
        ("support-tickets", {"ticket_id": "T2", "status": "opened", "priority": "urgent"}, "urgent ticket T2 opened"),
        ("product-usage", {"user_id": "u1", "action": "run", "feature": "search"}, "u1: run search"),
        ("product-usage", {}, "used the product"),
        ("surveys", {"kind": "nps", "score": 9.0}, "NPS answer 9"),
        (
            "billing",
            {"kind": "invoice_paid", "amount": 1200.5, "currency": "EUR", "days_late": 3},
            "invoice paid, 1,200.5 EUR, 3 days late",
        ),
        ("engagement", {"kind": "webinar", "role": "admin"}, "webinar by admin"),
        ("signals", {"name": "credit_rating", "value": 7}, "credit rating is 7"),
        ("controls", {"kind": "pulse", "value": 40, "by": "ann"}, "pulse 40, by ann"),
        ("controls", {"kind": "snooze", "rule": "low", "by": "ann"}, "alert low snoozed, by ann"),
        ("accounts", {"name": "Acme"}, "profile: name Acme"),
        ("vitals-inbox", {}, "vitals inbox event"),
        ("signals", {"name": "x" * 100, "value": 1}, "x" * 59 + "… is 1"),
    ],
)
def test_an_event_has_a_title(topic: str, event: dict[str, Any], text: str) -> None:
    assert event_text(topic, event) == text


# -- alerts show what was published then ------------------------------------------------------------------------------


def journey(*records: Record) -> list[tuple[int, str, str]]:
    """Hours after noon, title and status of each alert item, oldest first."""
    board = board_of(*score_history("acme", 90.0, 30.0), *records)
    account = board.state.accounts["acme"]
    result = SearchResult([], {}, 0, 0)
    items = page_of(
        board.state, account, position_of(None, None, BUILT_IN), result, BUILT_IN, limit=50, kinds=frozenset({"alert"})
    ).items
    return [((item.time - NOON) // HOUR_MS, item.title, item.data.state) for item in reversed(items)]


def low(hours: int, summary: str, **more: Any) -> Record:
    more = {name: NOON + value * HOUR_MS if name.endswith("_at") else value for name, value in more.items()}
    return alert("acme", starts_at=NOON + hours * HOUR_MS, summary=summary, id=summary, **more)


def test_the_end_of_an_alert_does_not_change_its_beginning() -> None:
    seen = journey(
        low(1, "Acme is low (usage -30.0)"),
        low(1, "Acme is lower (usage -30.0)", acknowledged_at=2, acknowledged_by="ann"),
        low(1, "Acme is snoozed", acknowledged_at=2, acknowledged_by="ann", snoozed_until=NOON + DAY_MS),
        low(1, "Acme is fine again", ends_at=5),
    )
    assert seen == [
        (1, "warning alert began: Acme is low (usage -30.0)", "firing"),
        (2, "acknowledged by ann: Acme is lower (usage -30.0)", "acknowledged"),
        (5, "resolved: Acme is fine again", "resolved"),
    ]


def test_a_beginning_that_is_not_kept_any_more_has_no_summary_of_its_end() -> None:
    assert journey(low(1, "Acme is fine again", ends_at=5)) == [
        (1, "warning alert began: low", "firing"),
        (5, "resolved: Acme is fine again", "resolved"),
    ]


def test_a_worsened_alert_is_never_shown_as_resolved() -> None:
    warning = {"rule": "band:health:attention", "severity": "warning"}
    worse = {"rule": "band:health:poor", "severity": "critical", "worsened_from": "band:health:attention"}
    records = (
        low(1, "Acme is attention", **warning),
        low(3, "Acme worsened from attention to poor", **worse),
        low(1, "Acme worsened from attention to poor: 30", ends_at=3, worsened_to="band:health:poor", **warning),
    )
    assert journey(*records) == [
        (1, "warning alert began: Acme is attention", "firing"),
        (3, "critical alert began: Acme worsened from attention to poor", "firing"),
    ]
    board = board_of(*score_history("acme", 90.0, 30.0), *records)
    assert [state_of(episode) for episode in board.state.episodes.past_of("acme")] == ["worsened"]
    assert list(board.state.episodes.latest_past()) == []
    assert [episode.rule for episode in board.state.episodes.open_of("acme")] == ["band:health:poor"]


def test_records_of_episodes_are_forgotten_with_them() -> None:
    episodes = Episodes()
    for number in range(200):
        for ends_at in (None, NOON + number * HOUR_MS + 1):
            record = alert("acme", starts_at=NOON + number * HOUR_MS, ends_at=ends_at)
            episodes.add(msgspec.json.decode(record.value or b"", type=Alert))
    past = episodes.past_of("acme")
    assert [len(episodes.records_of(episode)) for episode in past] == [2] * PAST_OF_ACCOUNT
    assert sum(map(len, episodes._earlier["acme"].values())) == PAST_OF_ACCOUNT
    episodes.drop("acme")
    assert not episodes._earlier
