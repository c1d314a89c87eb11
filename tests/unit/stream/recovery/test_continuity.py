"""Whether the state of a partition goes on where the group has committed and the topics end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream.recovery.continuity import SourceLog, judge_source, judge_start, judge_state, rebuilt_from

if TYPE_CHECKING:
    from stream.recovery.writer import Refusal

WHOLE = SourceLog("usage", 0, 100, committed=60, marked=True, topic_id="a")
TRIMMED = SourceLog("billing", 30, 50, committed=40, marked=True, topic_id="b")


def judged(position: dict[str, int] | None, *logs: SourceLog) -> Refusal | None:
    return judge_state(position, logs, partition=2, changelog="log")


def test_state_at_or_after_the_committed_offsets_is_whole() -> None:
    assert judged({"usage": 60, "billing": 41}, WHOLE, TRIMMED) is None
    assert judged(None, WHOLE._replace(committed=None), TRIMMED._replace(committed=0)) is None


def test_lost_state_is_refused_with_both_offsets_and_what_a_rebuild_would_miss() -> None:
    verdict = judged(None, WHOLE, TRIMMED)
    assert verdict is not None
    assert verdict[0] == (
        "changelog log partition 2 has no state: "
        "usage is committed up to offset 60, and the changelog has no position; "
        "billing is committed up to offset 40, and the changelog has no position"
    )
    assert verdict[1] == (
        "`vitals state rebuild --partition 2`: it reads billing from offset 30 (30 records before it are gone); "
        "the other topics from offset 0"
    )


def test_lost_state_is_refused_also_where_an_earlier_version_committed_and_both_ways_out_are_named() -> None:
    verdict = judged(None, WHOLE._replace(marked=False))
    assert verdict is not None
    assert "`vitals state rebuild --partition 2`: all input topics still begin at offset 0" in verdict[1]
    assert "`kafka-consumer-groups --delete-offsets`" in verdict[1]


def test_state_older_than_the_committed_offsets_is_refused() -> None:
    verdict = judged({"usage": 59, "billing": 40}, WHOLE, TRIMMED)
    assert verdict is not None
    assert verdict[0] == (
        "changelog log partition 2 is older than the committed offsets: usage is committed up to offset 60, and the "
        "changelog is at 59"
    )
    assert "delete-offsets" not in verdict[1]


def test_offsets_that_people_moved_have_no_effect_on_a_partition_with_state() -> None:
    assert judged({"usage": 10}, WHOLE._replace(marked=False)) is None


def test_a_changelog_whose_beginning_was_deleted_is_refused() -> None:
    assert judge_start(0, 0, partition=1, changelog="log", logs=[WHOLE]) is None
    assert judge_start(7, 7, partition=1, changelog="log", logs=[WHOLE]) is None
    verdict = judge_start(7, 0, partition=1, changelog="log", logs=[WHOLE])
    assert verdict is not None
    assert "begins at offset 7, not 0" in verdict[0]
    assert "`vitals state rebuild --partition 1`" in verdict[1]


@pytest.mark.parametrize(
    ("log", "position", "known_id"),
    [
        (WHOLE, 100, "a"),
        (WHOLE, 60, None),
        (WHOLE._replace(topic_id=None), 60, "a"),
        (WHOLE._replace(topic_id="other"), 0, "a"),
    ],
    ids=["same", "no id known", "no id now", "nothing read of it"],
)
def test_a_topic_that_goes_on_is_accepted(log: SourceLog, position: int, known_id: str | None) -> None:
    assert judge_source(log, position, known_id, partition=0) is None


def test_a_topic_created_again_is_refused_by_its_id() -> None:
    verdict = judge_source(WHOLE._replace(topic_id="other"), 60, "a", partition=3)
    assert verdict is not None
    assert (
        "topic usage was deleted and created again (topic id a before, other now): the state of partition 3"
        in verdict[0]
    )
    assert "`vitals state rebuild --topic usage`" in verdict[1]


def test_another_topic_in_the_place_of_the_one_that_was_read_is_refused() -> None:
    """It may have as many records, and none of them is in the state."""
    verdict = judge_source(WHOLE, 60, None, partition=3, known_topic="app.usage")
    assert verdict is not None
    assert verdict[0] == (
        "the state of partition 3 has records of topic app.usage up to offset 60, and topic usage is to be read in its "
        "place"
    )
    assert "`vitals state rebuild --topic usage`" in verdict[1]
    assert judge_source(WHOLE, 0, None, partition=3, known_topic="app.usage") is None, "nothing was read"
    assert judge_source(WHOLE, 60, None, partition=3, known_topic="usage") is None


def test_a_topic_that_ends_before_the_position_is_refused_without_an_id() -> None:
    verdict = judge_source(WHOLE._replace(end=59), 60, None, partition=3)
    assert verdict is not None
    assert verdict[0].startswith(
        "topic usage partition 3 ends at offset 59, and the state has its records up to offset 60"
    )


def test_what_a_rebuild_reads_when_all_topics_were_trimmed() -> None:
    assert rebuilt_from([TRIMMED]) == "it reads billing from offset 30 (30 records before it are gone)"
