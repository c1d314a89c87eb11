"""Where steps are cut, and what that says of positions."""

from __future__ import annotations

import json

from schemas.sources import BUILT_IN, INBOX
from stream.engine.engine import Engine, Mode
from stream.ingest.cuts import cuts_of, split_at, until_merge
from stream.ingest.merge import Merge
from tests.driving.engine import fetches_of, plan_of, scores_of
from tests.oracle.events import Record
from tests.unit.stream.engine.test_erasure import NOW, POLICY


def record(offset: int, source: str, account: str = "acme", **fields: str) -> Record:
    """A record of the repartition topic."""
    event = {"id": f"e-{offset}", "account_id": account, "time": NOW, **fields}
    return Record("vitals-inbox", 0, offset, NOW + offset, account.encode(), json.dumps(event).encode(), source)


def test_a_cut_says_nothing_of_records_after_it_in_other_batches_of_its_input() -> None:
    records = [
        record(0, "product-usage", user_id="ann"),
        record(1, "controls", kind="erase"),
        record(2, "engagement", kind="meeting"),
    ]
    (fetch,) = fetches_of(records)
    first, last = split_at(fetch.batches, cuts_of(fetch.batches, BUILT_IN), BUILT_IN)
    assert [(batch.source, batch.end) for _, batch in first.batches] == [("product-usage", 2), ("controls", 2)]
    assert [(batch.source, batch.end) for _, batch in last.batches] == [("engagement", 3)]


def test_events_after_an_erasure_that_were_forwarded_with_it_count() -> None:
    merge, engine = Merge(BUILT_IN), Engine(plan_of(POLICY))
    for fetch in fetches_of(
        [
            record(0, "engagement", kind="meeting"),
            record(1, "controls", kind="erase"),
            record(2, "product-usage", user_id="ann"),
        ]
    ):
        merge.add(fetch)
    engine.step(merge.release(lambda _source: False), Mode.HEAD, None)
    assert scores_of(engine)["acme"].factors[0][1] == 1
    assert engine.position[INBOX] == 3


def test_what_lies_after_a_merge_waits() -> None:
    records = [
        record(0, "product-usage", user_id="ann"),
        record(1, "controls", kind="merge", into="other"),
        record(2, "product-usage", user_id="ann"),
        record(3, "controls", "third", kind="merge", into="other"),
    ]
    (fetch,) = fetches_of(records)
    before, after = until_merge(fetch.batches, BUILT_IN)
    assert [(batch.source, batch.offsets.tolist(), batch.end) for batch in before] == [
        ("product-usage", [0], 2),
        ("controls", [1], 2),
    ]
    before, after = until_merge(after, BUILT_IN)
    assert [(batch.source, batch.offsets.tolist()) for batch in before] == [("product-usage", [2]), ("controls", [3])]
    assert after == []


def test_other_accounts_and_their_merges_do_not_wait() -> None:
    records = [
        record(0, "controls", kind="merge", into="other"),
        record(1, "product-usage", "other", user_id="ann"),
        record(2, "controls", "third", kind="merge", into="other"),
        record(3, "product-usage", "fourth", user_id="ann"),
        record(4, "controls", "third", kind="merge", into="fourth"),
        record(5, "controls", "fifth", kind="merge", into="other"),
    ]
    (fetch,) = fetches_of(records)
    before, after = until_merge(fetch.batches, BUILT_IN)
    assert {batch.source: batch.offsets.tolist() for batch in before} == {"product-usage": [1], "controls": [0, 2]}
    before, after = until_merge(after, BUILT_IN)
    assert {batch.source: batch.offsets.tolist() for batch in before} == {"product-usage": [3], "controls": [4, 5]}
    assert after == []
