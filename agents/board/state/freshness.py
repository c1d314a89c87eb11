"""What the output topics do not say: dead letters, and how far the workers are behind.

Owns the questions to the broker's admin. Called by `agents.board.state.reader`, in a thread.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from agents.board.state.board import Checked
from agents.board.views.overall_types import TopicCount
from agents.settings.settings import Settings
from schemas.events import SOURCES
from schemas.topics import DLQ_SUFFIX, REPARTITION

_REQUEST_MS, _CONNECT_MS = 5_000, 3_000
ENOUGH_FAILURES = 2
"""So many in a row are told: one may be a broker's restart."""


class BrokerChecks:
    """Asks one broker, again and again; connects when it is first asked, and anew after an error."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._settings = settings
        self._admin: KafkaAdminClient | None = None
        self._failures = 0

    def ask(self, before: Checked, now_ms: int) -> Checked:
        """The figures as of now; when the broker does not answer, those of before and what is wrong."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    **self._settings.kafka_python(),
                    client_id="vitals-board",
                    request_timeout_ms=_REQUEST_MS,
                    bootstrap_timeout_ms=_CONNECT_MS,
                )
            letters, lag = _counts(self._admin, self._settings.group)
        except (KafkaError, OSError, ValueError) as error:
            self.close()
            self._failures += 1
            if self._failures < ENOUGH_FAILURES:
                return before
            problem = f"the broker does not answer ({type(error).__name__}): figures are as of when it last did"
            return Checked(before.dead_letters, before.lag, before.at_ms, problem)
        self._failures = 0
        return Checked(letters, lag, now_ms, None)

    def close(self) -> None:
        """Let go of the broker."""
        if self._admin is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._admin.close()
            self._admin = None


def _counts(admin: KafkaAdminClient, group: str) -> tuple[list[TopicCount], list[TopicCount]]:
    """Records in dead-letter topics, and records of the inputs that the group has not committed; topics with some."""
    sources = (*SOURCES, REPARTITION)
    there = set(admin.list_topics())
    names = [name for source in sources for name in (source, source + DLQ_SUFFIX) if name in there]
    if not names:
        return [], []
    places = [
        TopicPartition(str(found.get("name") or found.get("topic")), number)
        for found in admin.describe_topics(names)
        for number in range(len(found["partitions"]))
    ]
    begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    committed = admin.list_group_offsets({group: None}).get(group, {})
    letters: Counter[str] = Counter()
    lag: Counter[str] = Counter()
    for place in places:
        begin, end = begins[place].offset, ends[place].offset
        if place.topic.endswith(DLQ_SUFFIX):
            letters[place.topic] += end - begin
        else:
            done = committed.get(place)
            lag[place.topic] += max(end - (begin if done is None else max(done.offset, begin)), 0)
    return _published_checks(letters), _published_checks(lag)


def _published_checks(counts: Counter[str]) -> list[TopicCount]:
    return [TopicCount(topic, counts[topic]) for topic in sorted(counts) if counts[topic]]
