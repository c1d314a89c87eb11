"""Dead letters, the number of workers and their lag, from the broker's admin API.

Owns these requests. Called by `agents.board.state.reader`, in a thread.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from dataclasses import replace

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from agents.board.state.board import Checked
from agents.board.views.overall_types import TopicCount
from agents.kafka.groups import describe_group
from agents.settings.settings import Settings
from schemas.sources import DLQ_SUFFIX, Sources
from schemas.topics import MAPPER_DLQ, REPARTITION

_REQUEST_MS, _CONNECT_MS = 5_000, 3_000
ENOUGH_FAILURES = 2
"""Failures in a row that are a problem: one may be the restart of a broker."""


class BrokerChecks:
    """Asks one broker repeatedly. Connects with the first question, and again after an error."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        """Store the settings, and the sources of the deployment."""
        self._settings, self._sources = settings, sources
        self._admin: KafkaAdminClient | None = None
        self._failures = 0

    def ask(self, before: Checked, now_ms: int) -> Checked:
        """The present figures; if the broker does not answer, the earlier ones and the problem."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    **self._settings.kafka_python(),
                    client_id="vitals-board",
                    request_timeout_ms=_REQUEST_MS,
                    bootstrap_timeout_ms=_CONNECT_MS,
                )
            letters, lag = _counts(self._admin, self._settings.group, self._sources)
            workers = _workers(self._admin, self._settings.group)
        except (KafkaError, OSError, ValueError) as error:
            self.close()
            self._failures += 1
            if self._failures < ENOUGH_FAILURES:
                return before
            problem = f"the broker does not answer ({type(error).__name__}): figures are as of when it last did"
            return replace(before, problem=problem)
        self._failures = 0
        since_ms = (before.no_worker_since_ms or now_ms) if workers == 0 else None
        return Checked(letters, lag, now_ms, None, workers, since_ms)

    def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._admin.close()
            self._admin = None


def _workers(admin: KafkaAdminClient, group: str) -> int | None:
    """The members of a consumer group; None if the broker does not say, as one without the right to describe it."""
    try:
        described = describe_group(admin, group)
    except KafkaError:
        return None
    return None if described is None else len(described.members)


def _counts(admin: KafkaAdminClient, group: str, sources: Sources) -> tuple[list[TopicCount], list[TopicCount]]:
    """Topics with dead letters of records, and input topics with records that the group has not committed."""
    inputs = (*sources.of_topics, sources.own(REPARTITION))
    existing = set(admin.list_topics())
    of_inputs = [name for topic in inputs for name in (topic, sources.letters_of(topic))]
    names = [name for name in (*of_inputs, sources.own(MAPPER_DLQ.name)) if name in existing]
    if not names:
        return [], []
    partitions = [
        TopicPartition(str(topic.get("name") or topic.get("topic")), number)
        for topic in admin.describe_topics(names)
        for number in range(len(topic["partitions"]))
    ]
    begins = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    committed = admin.list_group_offsets({group: None}).get(group, {})
    letters: Counter[str] = Counter()
    lag: Counter[str] = Counter()
    for partition in partitions:
        begin, end = begins[partition].offset, ends[partition].offset
        if partition.topic.endswith(DLQ_SUFFIX):
            letters[partition.topic] += end - begin
        else:
            applied = committed.get(partition)
            lag[partition.topic] += max(end - (begin if applied is None else max(applied.offset, begin)), 0)
    return _topics_with_records(letters), _topics_with_records(lag)


def _topics_with_records(counts: Counter[str]) -> list[TopicCount]:
    return [TopicCount(topic, counts[topic]) for topic in sorted(counts) if counts[topic]]
