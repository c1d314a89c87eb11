"""An engine that is fed in batches has the scores of all events at once, and publishes what a worker does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import account_vitals as av
from agents.files.replay import replay_files
from agents.files.scores import score_messages

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples" / "events.jsonl"
TEMPLATE = Path(__file__).parents[3] / "deploy" / "policies" / "template.toml"
Rows = list[dict[str, Any]]


def read() -> Rows:
    rows = [json.loads(line) for line in EXAMPLES.read_text("utf-8").splitlines()]
    return sorted(rows, key=lambda row: row["time"])


def values(scores: list[av.ScoreMessage]) -> list[Any]:
    return [(score.account_id, score.segment, msgspec.to_builtins(score.scores)) for score in scores]


@settings(max_examples=4)
@given(cuts=st.lists(st.integers(0, 53), max_size=6))
def test_batches_give_the_scores_of_all_events_at_once(cuts: list[int]) -> None:
    rows = read()
    engine = av.Engine(TEMPLATE)
    bounds = [0, *sorted(cuts), len(rows)]
    for begin, end in pairwise(bounds):
        engine.feed(rows[begin:end])
    engine.advance_to("2026-03-28")
    replay = replay_files([EXAMPLES], av.Policy.load(TEMPLATE).plan, 1_774_742_399_999)
    assert values(engine.scores()) == values(score_messages(replay.engine))
    assert engine.as_of == datetime(2026, 3, 28, 23, 59, 59, 999_000, UTC)


def test_a_batch_publishes_changes_and_alerts() -> None:
    policy = av.Policy.parse(
        """
        name = "tickets"
        [measures.tickets]
        source = "support-tickets"
        stat = "count"
        window = "30d"
        normalise = { kind = "linear", zero_at = 2, hundred_at = 0 }
        weight = 1
        [scores.health]
        min_change = 1
        bands = [{ name = "healthy", from = 40 }, { name = "at-risk", from = 0, alert = "critical" }]
        """
    )
    engine = av.Engine(policy)
    assert (engine.as_of, engine.scores(), engine.advance_to("2026-01-01")) == (None, [], av.Published())
    ticket = {"topic": "support-tickets", "account_id": "acme", "ticket_id": "T", "status": "opened"}
    first = engine.feed([ticket | {"id": "1", "time": "2026-03-01T00:00:00Z"}])
    second = engine.feed(pl.DataFrame([ticket | {"id": "2", "time": "2026-03-02T00:00:00Z"}]))
    again = engine.feed([ticket | {"id": "2", "time": "2026-03-02T00:00:00Z"}])
    assert [(change.from_, change.to) for change in first.changes + second.changes] == [(0.0, 50.0), (50.0, 0.0)]
    assert [(alert.status, alert.severity) for alert in second.alerts] == [("firing", "critical")]
    assert [score.account_id for score in second.scores] == ["acme"]
    assert (again.changes, dict(again.outcomes)) == ([], {("support-tickets", "duplicate"): 1})


def test_rows_without_an_id_in_two_batches_are_two_events() -> None:
    engine = av.Engine(TEMPLATE)
    row = {"topic": "engagement", "account_id": "a", "time": "2026-03-01T00:00:00Z", "kind": "webinar"}
    assert [dict(engine.feed([row]).outcomes) for _ in range(2)] == [{("engagement", "applied"): 1}] * 2


def test_rows_that_cannot_be_used_are_left_out_with_a_warning() -> None:
    engine = av.Engine(TEMPLATE)
    engine.feed(read())
    rows = [
        {"topic": "surveys", "id": "1", "account_id": "a", "time": "2026-03-01T00:00:00Z", "kind": "nps", "score": 99},
        {"topic": "controls", "id": "2", "account_id": "acme", "time": "2026-03-02T00:00:00Z", "kind": "override",
         "band": "unknown", "reason": "x", "expires_at": "2026-04-01T00:00:00Z"},
    ]  # fmt: skip
    with pytest.warns(av.LeftOutWarning, match="2 rows in all") as warned:
        published = engine.feed(rows)
    assert [(row.file, row.line, row.reason) for row in published.left_out] == [
        ("batch 2", 1, "invalid_field"),
        ("batch 2", 2, "invalid_field"),
    ]
    assert warned[0].filename == __file__


def test_time_alone_moves_scores() -> None:
    engine = av.Engine(TEMPLATE)
    engine.feed(read())
    published = engine.advance_to("2026-06-30")
    assert "status" in {change.cause for change in published.changes}
    assert all(score.state == "no-data" for score in engine.scores() if score.account_id == "acme")
