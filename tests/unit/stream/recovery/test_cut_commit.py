"""Two crashes in a row: what a commit that was cut in the middle has saved ahead of what was read again."""

from __future__ import annotations

import json

import pytest

from tests.driving.crashes import Crashing
from tests.driving.engine import plan_of
from tests.oracle.events import Record

POLICY = """
name = "uses"
[measures.uses]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.health]
min_change = 0
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0 }]
"""
START_MS = 1_731_480_000_000


def usage(offset: int, event_id: str) -> Record:
    time_ms = START_MS + 1000 * offset
    event = {"id": event_id, "account_id": "acme", "time": time_ms, "user_id": "u-1", "feature": "reports"}
    return Record("product-usage", 0, offset, time_ms, b"acme", json.dumps(event).encode())


@pytest.mark.parametrize("written", range(1, 9))
def test_an_event_id_is_known_after_a_cut_commit_and_a_crash_before_its_event_was_read_again(written: int) -> None:
    records = [usage(0, "e-0"), usage(1, "e-1"), usage(2, "e-2"), usage(3, "e-2")]
    worker = Crashing(plan_of(POLICY), records)
    worker.drive.take(records[:3])
    worker.commit(written)
    worker.crash()
    worker.drive.take(worker.pending()[:1])
    worker.commit()
    assert worker.committed["product-usage"] == 1, "the ids of the records after it may not be known"
    worker.crash()
    worker.drive.take(worker.pending())
    engine = worker.drive.engine
    assert engine.settled["product-usage", "applied"] == 3
    assert engine.settled["product-usage", "duplicate"] == 1
    assert engine.committable() == {"product-usage": 4}


def test_an_input_without_records_before_its_end_is_read_up_to_there() -> None:
    worker = Crashing(plan_of(POLICY), [])
    engine = worker.drive.engine
    assert engine.committable() == {}
    assert engine.skip_to("surveys", 2), "markers of a transaction"
    assert engine.committable() == {"surveys": 2}
    assert not engine.skip_to("surveys", 2)
