"""Settings of topics on the broker that differ from what is needed."""

from __future__ import annotations

import pytest

from agents.kafka.topic_settings import mismatches
from schemas.sources import BUILT_IN
from schemas.topics import Topic, all_topics

TOPICS = {topic.name: topic for topic in all_topics("g", BUILT_IN)}
CHANGELOG, USAGE = TOPICS["g-accounts-changelog"], TOPICS["product-usage"]


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_topic_as_it_is_created_has_no_problem(topic: Topic) -> None:
    assert mismatches(topic, topic.config()) == []


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_topic_whose_settings_may_not_be_read_has_no_problem(topic: Topic) -> None:
    assert mismatches(topic, {}) == []


@pytest.mark.parametrize("cleanup", ["delete", "compact,delete", "delete,compact"])
def test_a_changelog_that_is_not_only_compacted_is_refused_with_the_command_that_mends_it(cleanup: str) -> None:
    (mismatch,) = mismatches(CHANGELOG, {"cleanup.policy": cleanup})
    assert mismatch.loses_state
    text = mismatch.text(CHANGELOG.name, "b:9092")
    assert f"cleanup.policy is {cleanup}, and compact is needed" in text
    assert (
        "`kafka-configs --bootstrap-server b:9092 --alter --entity-type topics --entity-name g-accounts-changelog "
        "--add-config cleanup.policy=compact`"
    ) in text


@pytest.mark.parametrize(
    ("name", "cleanup", "refused"),
    [
        ("health.scores", "delete", False),
        ("health.alerts", "compact", False),
        ("product-usage", "compact", True),
        ("vitals-inbox", "compact,delete", True),
        ("accounts", "delete", False),
        ("billing.dlq", "compact", False),
    ],
)
def test_another_cleanup_is_a_problem_and_refused_where_events_are_lost(name: str, cleanup: str, refused: bool) -> None:
    (mismatch,) = mismatches(TOPICS[name], {"cleanup.policy": cleanup})
    assert mismatch.loses_state is refused


def test_small_records_and_the_producers_clock_are_problems_of_topics_that_workers_write() -> None:
    settings = {"max.message.bytes": "1000", "message.timestamp.type": "CreateTime", "retention.ms": "1"}
    assert [mismatch.setting for mismatch in mismatches(CHANGELOG, settings)] == [
        "max.message.bytes",
        "message.timestamp.type",
    ]
    assert not any(mismatch.loses_state for mismatch in mismatches(CHANGELOG, settings))
    assert mismatches(USAGE, settings) == []


@pytest.mark.parametrize(
    ("name", "settings", "problems"),
    [
        ("accounts", {"cleanup.policy": "delete", "retention.ms": "-1"}, 0),
        ("accounts", {"cleanup.policy": "delete", "retention.ms": "86400000"}, 1),
        ("accounts", {"cleanup.policy": "compact,delete", "retention.ms": "-1"}, 1),
        ("health.scores", {"cleanup.policy": "delete", "retention.ms": "-1"}, 1),
        ("g-accounts-changelog", {"cleanup.policy": "delete", "retention.ms": "-1"}, 1),
    ],
)
def test_profiles_may_be_kept_for_ever_instead_of_compacted(name: str, settings: dict[str, str], problems: int) -> None:
    assert len(mismatches(TOPICS[name], settings)) == problems
