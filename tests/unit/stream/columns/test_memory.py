"""What the policy reference says of the memory that columns take."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stream.columns.hash_index import hash_ids
from stream.columns.histograms import BUCKETS, HistogramColumn
from stream.columns.things import MOST_EVENTS, THING_ENTRY, Things, thing_keys
from stream.engine.engine import Engine
from tests.driving.engine import Drive, plan_of
from tests.golden.test_documented_policies import SHOWN
from tests.oracle.events import Record
from tests.strategies.policies import NOW_MS

ANSWERS = SHOWN["answers"]
AT_ONCE = 'name = "answers"\n[status]\nwhile_silent = "now"\n'
ROWS = 64


@pytest.mark.parametrize(
    ("policy", "panes", "kilobytes"),
    [(ANSWERS, 67, 14.0), (ANSWERS.replace('name = "answers"\n', AT_ONCE), 30, 6.3)],
    ids=["as of the last event", "now"],
)
def test_two_percentiles_of_a_field_share_a_column_of_a_byte_a_count(policy: str, panes: int, kilobytes: float) -> None:
    plan = plan_of(policy)
    drive = Drive(Engine(plan))
    event = {"id": "1", "account_id": "a", "time": NOW_MS, "ticket_id": "t", "status": "solved", "first_response_s": 60}
    drive.take([Record("support-tickets", 0, 0, NOW_MS, b"a", json.dumps(event).encode())])
    drive.save()
    (column,) = [each for each in drive.engine.accounts.columns if isinstance(each, HistogramColumn)]
    of_account = column.values[0].nbytes
    assert (column.values.shape[1:], column.values.itemsize) == ((panes, BUCKETS), 1)
    assert round(of_account / 1000, 1) == kilobytes
    (row,) = [value for key, value in drive.topic.items() if key == b"ra"]
    assert of_account < len(row) < of_account + 500


def test_an_account_with_more_than_127_events_of_a_size_takes_two_bytes_a_count() -> None:
    column = HistogramColumn("h", "day", 1)
    column.grow(2)
    column.advance(NOW_MS)
    for count, size in ((127, 1), (1, 2)):
        column.aggregate(np.zeros(count, dtype=np.int64), np.full(count, NOW_MS), np.full(count, 60.0))
        assert column.values.itemsize == size


@pytest.mark.parametrize("opens", [False, True])
def test_an_event_of_a_thing_takes_as_much_as_it_says(opens: bool) -> None:
    things = Things("things", "day", 365)
    things.grow(ROWS)
    things.advance(NOW_MS)
    for first in range(0, 40_000, 500):
        rows = np.arange(first, first + 500, dtype=np.int64) % ROWS
        ids = hash_ids([f"t{number}" for number in range(first, first + 500)])
        things.aggregate(rows, np.full(500, NOW_MS), thing_keys(ids, np.full(500, opens)))
        if first < 5000:
            continue
        things.find_open()
        arrays = (things._owner, things._key, things._time, things._page)
        assert 22 <= sum(array.nbytes for array in arrays) / len(things) <= 33
        assert 24 <= things._index.nbytes() / len(things) <= 48
        assert sum(array.nbytes for array in things._open) == 24 * len(things) * opens
    assert (THING_ENTRY.itemsize, MOST_EVENTS) == (16, 50_000)
