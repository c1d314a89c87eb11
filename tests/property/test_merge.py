"""Merge: the sources of one partition are released as one log, also while some of them lag."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sources import BUILT_IN
from stream.engine.engine import Mode
from stream.ingest.merge import Merge
from tests.driving.engine import Drive, Watched, assert_same, fetch_of, partitions, plan_of, plausible_logs, scores_of
from tests.oracle.engine import Record, boundary_scores, final_scores
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, policies

DAYS = ("1d", "7d", "30d")


@settings(max_examples=examples(30))
@given(st.data(), plausible_logs(partitions=1), policies(windows=DAYS))
def test_a_merge_waits_for_lagging_sources(data: st.DataObject, log: list[Record], policy_text: str) -> None:
    (records,) = partitions(log).values()
    lines = {name: [record for record in records if record.source == name] for name in BUILT_IN.inputs}
    for line in lines.values():
        line.sort(key=lambda record: record.offset)
    position_of = {(record.source, record.offset): index for index, record in enumerate(records)}
    engine = Watched(plan_of(policy_text))
    drive = Drive(engine, mode=data.draw(st.sampled_from((Mode.HEAD, Mode.EXACT))))
    released = -1
    while any(lines.values()):
        name = data.draw(st.sampled_from([name for name, line in lines.items() if line]))
        count = data.draw(st.integers(1, len(lines[name])))
        drive.merge.add(fetch_of(lines[name][:count]))
        del lines[name][:count]
        if not (batches := drive.merge.release(lambda source_index: bool(lines[BUILT_IN.inputs[source_index]]))):
            continue
        # A profile with a bad field is a record and a reject.
        positions = {
            position_of[batch.source, offset]
            for batch in batches
            for offset in (*batch.offsets.tolist(), *(reject.position for reject in batch.rejects))
        }
        # Nothing is released before what precedes it, nor kept longer than it must.
        assert sorted(positions) == list(range(released + 1, released + 1 + len(positions)))
        released += len(positions)
        drive.note(engine.step(batches, drive.mode, NOW_MS))
    assert released == len(records) - 1
    assert not drive.merge
    last: dict = {}
    for (_, boundary_ms), scores in sorted(boundary_scores(log, policy_text, NOW_MS).items()):
        last = engine.boundaries.get(boundary_ms, last)
        assert_same(last, scores, boundary_ms)
    assert_same(scores_of(engine), final_scores(log, policy_text, NOW_MS))


def record(source: str, offset: int, stamp_ms: int) -> Record:
    value = b'{"id": "%d", "account_id": "a", "time": %d, "kind": "webinar"}' % (offset, NOW_MS)
    return Record(source, 0, offset, stamp_ms, b"a", value)


def released(merge: Merge, *lagging: str) -> list[tuple[str, int]]:
    batches = merge.release(lambda source_index: BUILT_IN.inputs[source_index] in lagging)
    return [(batch.source, offset) for batch in batches for offset in batch.offsets.tolist()]


def test_nothing_is_released_while_a_lagging_source_has_no_records() -> None:
    merge = Merge(BUILT_IN)
    merge.add(fetch_of([record("engagement", 0, 5), record("engagement", 1, 9)]))
    assert released(merge, "product-usage") == []
    # The merge no longer waits once the source does not count as lagging.
    assert released(merge) == [("engagement", 0), ("engagement", 1)]
    assert not merge


def test_a_lagging_source_delays_only_newer_records() -> None:
    merge = Merge(BUILT_IN)
    merge.add(fetch_of([record("product-usage", 0, 4), record("product-usage", 1, 7)]))
    merge.add(fetch_of([record("engagement", index, stamp) for index, stamp in enumerate((3, 7, 8))]))
    # At equal times usage comes first, so engagement's record of 7 must wait for more usage.
    assert released(merge, "product-usage") == [("product-usage", 0), ("product-usage", 1), ("engagement", 0)]
    assert merge.waiting[BUILT_IN.inputs.index("engagement")] == 2
    merge.add(fetch_of([record("product-usage", 2, 8)]))
    assert released(merge, "product-usage") == [("product-usage", 2), ("engagement", 1)]
    assert released(merge) == [("engagement", 2)]


def test_records_keep_the_order_of_their_offsets_if_timestamps_decrease() -> None:
    merge = Merge(BUILT_IN)
    merge.add(fetch_of([record("engagement", 0, 9), record("engagement", 1, 2)]))
    merge.add(fetch_of([record("engagement", 2, 1)]))
    assert released(merge, "engagement") == [("engagement", 0), ("engagement", 1), ("engagement", 2)]


def test_repartitioned_records_of_several_sources_keep_the_order_of_their_offsets() -> None:
    """An old event that comes first is not late because of a newer event of another source in the same batch."""
    day_ms = 86_400_000
    records = [
        Record(
            "vitals-inbox",
            0,
            offset,
            NOW_MS,
            b"a",
            b'{"id": "%d", "account_id": "a", "time": %d, "kind": "webinar"}' % (offset, time_ms),
            origin,
        )
        for offset, (origin, time_ms) in enumerate(
            [
                ("product-usage", NOW_MS - 60 * day_ms),
                ("engagement", NOW_MS - 60 * day_ms),
                ("product-usage", NOW_MS),
                ("engagement", NOW_MS - 60 * day_ms),
            ]
        )
    ]
    engine = Watched(plan_of(POLICY))
    drive = Drive(engine)
    drive.take(records)
    assert drive.outcomes == {
        ("product-usage", "applied"): 2,
        ("engagement", "applied"): 1,
        ("engagement", "late"): 1,
    }


POLICY = """
name = "p"
[measures.m]
source = "engagement"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""
