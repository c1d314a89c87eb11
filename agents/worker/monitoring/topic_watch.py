"""The topic watch: a thread that sees when an input topic is deleted, created again, or gets more partitions.

Owns the comparison. Clients of Kafka go on with a topic of the same name as if nothing had happened: offsets then mean
other records, and accounts of new partitions are read by nobody. A worker that sees it ends with `RefusedError`; it is
refused again at the next start, by `agents.worker.run` and `agents.worker.tasks.takeover`. Made by
`agents.worker.wiring`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, admin_of
from agents.kafka.topics import id_of
from agents.settings.settings import Settings
from agents.worker.fatal import RefusedError

log = structlog.get_logger()

INTERVAL_S = 30.0


class Shape(NamedTuple):
    """What a topic is now: its id, where the broker gives one, and its partitions."""

    topic_id: str | None
    partitions: int


class TopicWatch:
    """Looks at the topics that a worker reads, again and again."""

    def __init__(
        self, read: Callable[[], Mapping[str, Shape]], partitions: int, *, on_fatal: Callable[[BaseException], None]
    ) -> None:
        """`read` asks the broker and blocks; `partitions` is how many each topic must have."""
        self._read = read
        self._partitions = partitions
        self._on_fatal = on_fatal
        self._known: dict[str, Shape] = {}
        self._missing: frozenset[str] = frozenset()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Watch from a thread."""
        threading.Thread(target=self._watch, name="topic-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def look(self) -> None:
        """Compare the topics with what they were. Raises `RefusedError`."""
        shapes = self._read()
        for topic, shape in shapes.items():
            self._compare(topic, self._known.get(topic, shape), shape)
        # A broker that has just started may not know all topics yet: missing twice is missing.
        missing = frozenset(self._known.keys() - shapes.keys())
        for topic in sorted(missing & self._missing):
            reason = f"topic {topic} was deleted while this worker read it"
            raise RefusedError(reason, _rebuild(topic), topic=topic)
        self._missing = missing
        self._known.update(shapes)

    def _compare(self, topic: str, before: Shape, now: Shape) -> None:
        if None not in (before.topic_id, now.topic_id) and before.topic_id != now.topic_id:
            reason = (
                f"topic {topic} was deleted and created again while this worker read it "
                f"(topic id {before.topic_id} before, {now.topic_id} now)"
            )
            raise RefusedError(reason, _rebuild(topic), topic=topic)
        if now.partitions != self._partitions:
            reason = (
                f"topic {topic} has {now.partitions} partitions now, and this worker reads {self._partitions}: events "
                "in the others are not counted"
            )
            way_out = (
                f"stop all workers, give all input topics {now.partitions} partitions, run `vitals state repartition "
                f"--partitions {now.partitions}`, and set VITALS_PARTITIONS={now.partitions}"
            )
            raise RefusedError(reason, way_out, topic=topic)

    def _watch(self) -> None:
        while True:
            try:
                self.look()
            except RefusedError as error:
                self._on_fatal(error)
            except (BrokerError, KafkaError, OSError) as error:
                log.debug("topics_not_described", error=str(error), will="retry")
            except Exception:
                log.exception("topics_not_described", will="retry")
            if self._stopped.wait(INTERVAL_S):
                return


def read_shapes(settings: Settings, topics: list[str]) -> dict[str, Shape]:
    """The topics as the broker has them, without those that are missing. Blocks.

    Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`.
    """
    admin = admin_of(settings)
    try:
        described = admin.describe_topics(topics)
    finally:
        admin.close()
    return {
        str(entry["name"]): Shape(id_of(entry), len(entry["partitions"]))
        for entry in described
        if not entry["error_code"]
    }


def _rebuild(topic: str) -> str:
    return f"stop all workers, create the topic if it is missing, and run `vitals state rebuild --topic {topic}`"
