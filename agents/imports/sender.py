"""Send events to the input topics: by account, with the time of the event, each acknowledged by all replicas.

Owns the producer. Records of a batch that the broker refuses are sent once more, each alone, so that only those are
refused that the broker does not take (decision 55: an idempotent producer of kafka-python ends with the first of them).
Called by `vitals import`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from kafka.errors import InvalidTimestampError, KafkaError

from agents.imports.spool import SpooledEvent
from agents.kafka.client import REFUSED, BrokerError, producer_of
from agents.kafka.partitions import partition_of
from agents.kafka.topics import describe_topics
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.plausible_times import IN_THE_FUTURE
from schemas.sources import Sources
from schemas.topics import LARGEST_RECORD

TOO_LARGE = "too_large"
_TIME_REFUSED = IN_THE_FUTURE
_WITHIN_S = 180.0
_BATCH_BYTES = 256 * 1024


class Refused(NamedTuple):
    """An event that the broker does not take, and why."""

    event: SpooledEvent
    reason: str
    message: str


class Sender:
    """A producer for the topics of some sources. Use it in a `with` statement."""

    def __init__(self, settings: Settings, sources: Sources, names: Iterable[str]) -> None:
        """Connect. Raises `BrokerError`."""
        self._topics = {name: sources[name].topic for name in names}
        # One request in flight keeps the order when one is sent again.
        self._producer = producer_of(
            settings,
            max_request_size=LARGEST_RECORD,
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            batch_size=_BATCH_BYTES,
            linger_ms=20,
        )
        try:
            self._partitions = {topic: len(self._producer.partitions_for(topic)) for topic in self._topics.values()}
        except KafkaError as error:
            self._producer.close(timeout=0)
            raise BrokerError(f"the partitions of the topics are not known: {error_text(error)}") from error

    def __enter__(self) -> Self:
        """Use this producer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; what is not acknowledged may still be written."""
        self._producer.close(timeout=1)

    def send(self, events: Sequence[SpooledEvent]) -> list[Refused]:
        """Send events in their order, and wait for all; returns those that are refused. Raises `BrokerError`."""
        try:
            writes = [(event, self._start(event)) for event in events]
            again = [event for event, write in writes if _refusal(write) is not None]
            return list(self._alone(again))
        except KafkaError as error:
            raise BrokerError(f"sending failed: {error_text(error)}") from error

    def _start(self, event: SpooledEvent) -> Any:
        """Begin to send; the write, or the error of an event that the client refuses."""
        topic, key = self._topics[event.source], event.account.encode()
        partition = partition_of(key, self._partitions[topic])
        try:
            return self._producer.send(
                topic, key=key, value=event.value, partition=partition, timestamp_ms=event.time_ms
            )
        except REFUSED as error:
            return error

    def _alone(self, events: Sequence[SpooledEvent]) -> Iterator[Refused]:
        for event in events:
            error = _refusal(self._start(event))
            if error is None:
                continue
            topic, size = self._topics[event.source], len(event.value or b"")
            if isinstance(error, InvalidTimestampError):
                message = f"the topic {topic} does not take records with the time of this event"
                yield Refused(event, _TIME_REFUSED, f"{message} (message.timestamp.before.max.ms, after.max.ms)")
            else:
                message = f"the event has {size:,} bytes, more than the topic {topic} takes (max.message.bytes)"
                yield Refused(event, TOO_LARGE, message)


def _refusal(write: Any) -> KafkaError | None:
    """Wait for a write; the error if the broker does not take the record. Raises other `KafkaError`s."""
    if isinstance(write, KafkaError):
        return write
    try:
        write.get(timeout=_WITHIN_S)
    except REFUSED as error:
        return error
    return None


def oldest_times(settings: Settings, sources: Sources) -> dict[str, int]:
    """The oldest time (epoch ms) of a record that the topic of each source keeps, where it deletes by time.

    Raises `BrokerError` if an input topic is missing.
    """
    inputs = [state for state in describe_topics(settings, sources) if state.topic.role == "input"]
    missing = [f"{state.topic.name}: {state.problem}" for state in inputs if state.partitions is None]
    if missing:
        raise BrokerError("\n".join(missing))
    now_ms = time.time_ns() // 1_000_000
    oldest = {}
    for state in inputs:
        keeps_ms = int(state.settings.get("retention.ms", -1))
        if keeps_ms >= 0 and "delete" in state.settings.get("cleanup.policy", ""):
            oldest[sources.input_of[state.topic.name]] = now_ms - keeps_ms
    return oldest
