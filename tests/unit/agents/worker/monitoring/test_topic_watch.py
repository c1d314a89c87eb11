"""A topic that is deleted, created again or gets more partitions under a worker is seen."""

from __future__ import annotations

import pytest

from agents.worker.fatal import RefusedError
from agents.worker.monitoring.topic_watch import Shape, TopicWatch

USAGE, BILLING = "product-usage", "billing"


class Topics:
    """What the broker says next."""

    def __init__(self) -> None:
        self.shapes = {USAGE: Shape("a", 4), BILLING: Shape(None, 4)}
        self.watch = TopicWatch(lambda: dict(self.shapes), 4, on_fatal=self._fails)
        self.watch.look()

    @staticmethod
    def _fails(error: BaseException) -> None:
        raise error

    def refused(self) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            self.watch.look()
        return caught.value


def test_topics_that_stay_as_they_are_are_accepted_and_so_is_one_that_appears() -> None:
    topics = Topics()
    topics.shapes["surveys"] = Shape("c", 4)
    topics.watch.look()
    topics.watch.look()


def test_a_topic_created_again_is_named_with_both_ids_and_the_way_out() -> None:
    topics = Topics()
    topics.shapes[USAGE] = Shape("b", 4)
    error = topics.refused()
    assert "topic product-usage was deleted and created again while this worker read it" in str(error)
    assert "(topic id a before, b now)" in str(error)
    assert "`vitals state rebuild --topic product-usage`" in error.way_out


@pytest.mark.parametrize("topic", [USAGE, BILLING])
def test_added_partitions_are_named_with_both_counts_and_the_way_out(topic: str) -> None:
    topics = Topics()
    topics.shapes[topic] = topics.shapes[topic]._replace(partitions=8)
    error = topics.refused()
    assert f"topic {topic} has 8 partitions now, and this worker reads 4" in str(error)
    assert "`vitals state repartition --partitions 8`" in error.way_out


def test_a_deleted_topic_is_refused_when_it_is_missing_twice() -> None:
    """A broker that has just started may not know all its topics yet."""
    topics = Topics()
    gone = topics.shapes.pop(USAGE)
    topics.watch.look()
    topics.shapes[USAGE] = gone
    topics.watch.look()
    del topics.shapes[USAGE]
    topics.watch.look()
    assert "topic product-usage was deleted while this worker read it" in str(topics.refused())


def test_a_topic_that_was_away_for_one_look_and_has_another_id_is_refused() -> None:
    topics = Topics()
    del topics.shapes[USAGE]
    topics.watch.look()
    topics.shapes[USAGE] = Shape("b", 4)
    assert "created again" in str(topics.refused())
