"""Clocks of sources that can go idle, where the first event of one is older than the span after which it is idle."""

from __future__ import annotations

import json

import pytest

from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.driving.engine import Drive, plan_of, scores_of
from tests.oracle.engine import final_scores
from tests.oracle.events import Record

POLICY = """
name = "answers"
[sources.surveys]
stall_after = "2d"
[measures.answers]
source = "surveys"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 2 }
weight = 1
[measures.uses]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 2 }
weight = 1
[scores.health]
min_change = 0
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0 }]
"""
HOUR_MS = 3_600_000
START_MS = 1_725_148_800_000
NOW_MS = START_MS + 30 * 24 * HOUR_MS


def record(source: str, offset: int, hour: int, **fields: object) -> Record:
    time_ms = START_MS + hour * HOUR_MS
    event = {"id": f"{source}-{offset}", "account_id": "acme", "time": time_ms, **fields}
    return Record(source, 0, offset, time_ms, b"acme", json.dumps(event).encode())


LOG = [
    record("product-usage", 0, 200, user_id="u", feature="reports"),
    record("product-usage", 1, 205, user_id="u", feature="reports"),
    record("surveys", 0, 70, kind="nps", score=9),
    record("surveys", 1, 75, kind="nps", score=9),
]


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("crash", [False, True])
def test_the_clock_of_a_source_does_not_depend_on_how_records_are_cut_into_steps(cut: int, *, crash: bool) -> None:
    plan = plan_of(POLICY)
    drive = Drive(Engine(plan))
    drive.turn_to(Mode.HEAD)
    drive.take(LOG[:cut])
    if crash:
        saved = {key: value for key, value in changelog.snapshot(drive.engine) if value is not None}
        engine = Engine(plan)
        changelog.restore(engine, saved)
        drive = Drive(engine)
        drive.turn_to(Mode.HEAD)
    drive.take(LOG[cut:])
    assert dict(drive.engine.time.source_clocks) == {"surveys": START_MS + (75 + 48) * HOUR_MS}
    assert scores_of(drive.engine) == final_scores(LOG, POLICY, NOW_MS)
    assert scores_of(drive.engine)["acme"].value == 100
