"""Dead letters as records of `<topic>.dlq`: what they contain, and which ones are selected.

The form of their headers is in `agents.kafka.letters`. Must not write.
Called by `agents.dlq.groups` and `agents.dlq.replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition

from agents.kafka.client import BrokerError, partitions_of, read_until
from agents.kafka.letters import Position, taken_apart
from schemas.sources import DLQ_SUFFIX, Sources
from schemas.topics import MAPPER_DLQ, ORIGIN_HEADER, WEBHOOK_DLQ, all_topics

REPLAYED_HEADER = "vitals.replayed_from"
"""Header of a replayed record: its dead letter. A replay of a replay has the header of the latest only."""

Headers = tuple[tuple[str, bytes | None], ...]


class Letter(NamedTuple):
    """A dead letter. `time_ms`: when it was written. `origin`, `record_ms`: position and time of the refused record.

    A letter of an earlier version has no `record_ms`.
    """

    position: Position
    time_ms: int
    reason: str
    message: str
    origin: Position | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    record_ms: int | None = None

    def target(self, sources: Sources) -> str:
        """The topic that the record came from, or was forwarded for."""
        if self.position.topic == sources.own(MAPPER_DLQ.name) and self.origin is not None:
            return self.origin.topic
        return sources.of_letters.get(self.position.topic, self.position.topic.removesuffix(DLQ_SUFFIX))

    def account(self) -> str | None:
        """The account: the key, or if there is none, the field `account_id`."""
        if self.key is not None:
            return self.key.decode(errors="replace")
        try:
            return None if self.value is None else _decode_account(self.value).account_id
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class _Account(msgspec.Struct):
    account_id: str | None = None


_decode_account = msgspec.json.Decoder(_Account).decode


class Selection(NamedTuple):
    """Which dead letters are meant; an empty selection means all. Times are epoch ms, both included."""

    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None
    account: str | None = None

    def has(self, letter: Letter) -> bool:
        """Whether a dead letter is selected."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since is None or letter.time_ms >= self.since)
            and (self.until is None or letter.time_ms <= self.until)
            and (self.account is None or letter.account() == self.account)
        )


def letter_of(topic: str, partition: int, record: Any) -> Letter:
    """Take a record of a dead-letter topic apart."""
    refusal, headers = taken_apart(record.headers)
    ours = {REPLAYED_HEADER, ORIGIN_HEADER}  # the second is of a forwarded record
    return Letter(
        Position(topic, partition, record.offset),
        record.timestamp,
        refusal.reason,
        refusal.message,
        refusal.origin,
        record.key,
        record.value,
        tuple((name, value) for name, value in headers if name not in ours),
        refusal.time_ms,
    )


def is_replayable(topic: str) -> bool:
    """Whether a topic holds input records: alerts, which a sink refused, have other readers than that sink."""
    return not topic.endswith(WEBHOOK_DLQ)


def topics_of(consumer: KafkaConsumer, group: str, sources: Sources, wanted: frozenset[str]) -> list[str]:
    """The dead-letter topics on the broker, or those of them that are named, with or without `.dlq`.

    Raises `BrokerError` for a name that is not one of them.
    """
    existing = consumer.topics()
    every = [topic.name for topic in all_topics(group, sources) if topic.role == "dead letters"]
    every.append(sources.own(MAPPER_DLQ.name))
    names = [name for name in every if name in existing]
    chosen = {_letters(name.removesuffix(DLQ_SUFFIX), names, sources) for name in wanted}
    if unknown := sorted(chosen - set(names)):
        raise BrokerError(
            f"the broker lists no dead-letter topic {', '.join(unknown)}, or this client has no right DESCRIBE on it; "
            f"there are {', '.join(names) or 'none'}"
        )
    return [name for name in names if not chosen or name in chosen]


def _letters(topic: str, names: list[str], sources: Sources) -> str:
    """The dead-letter topic of a topic, which may be given without the prefix of the deployment."""
    return next((name for name in (topic + DLQ_SUFFIX, sources.letters_of(topic)) if name in names), topic + DLQ_SUFFIX)


def read_letters(
    consumer: KafkaConsumer, topics: list[str], stopping: Callable[[], bool] = lambda: False
) -> Iterator[Letter]:
    """All dead letters up to the present ends of the topics, in the order of each partition."""
    partitions = [partition for topic in topics for partition in partitions_of(consumer, topic)]
    if not partitions:
        return
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    for partition, record in read_until(consumer, consumer.end_offsets(partitions), stopping):
        yield letter_of(partition.topic, partition.partition, record)


def read_letter(consumer: KafkaConsumer, position: Position) -> Letter | None:
    """The dead letter at a position, or None."""
    partition = TopicPartition(position.topic, position.partition)
    if partition not in partitions_of(consumer, position.topic):
        return None
    consumer.assign([partition])
    begin, end = consumer.beginning_offsets([partition])[partition], consumer.end_offsets([partition])[partition]
    if not begin <= position.offset < end:
        return None
    consumer.seek(partition, position.offset)
    for _, record in read_until(consumer, {partition: position.offset + 1}):
        if record.offset == position.offset:
            return letter_of(position.topic, position.partition, record)
    return None
