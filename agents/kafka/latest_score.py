"""Reads one account's latest score from `health.scores`, with a consumer without a group.

Called by `vitals explain`.
"""

from __future__ import annotations

from typing import Any

from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, partitions_of, read_until
from agents.kafka.partitions import partition_of
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.outputs import ScoreMessage
from schemas.records import UnreadableError, read_message
from schemas.topics import SCORES


def latest_score(settings: Settings, account: str) -> ScoreMessage | None:
    """The newest score message of an account, or None. Raises `BrokerError`, also if it cannot be read."""
    require_rights(settings, "explain")
    newest = _latest_record(settings, account.encode())
    if newest is None or newest.value is None:
        return None
    try:
        return read_message(ScoreMessage, newest.value)
    except UnreadableError as error:
        position = f"{newest.topic}, partition {newest.partition}, offset {newest.offset}"
        msg = f"the latest record of {account} ({position}) is not a score: {error.reason}, {error}"
        raise BrokerError(msg) from error


def _latest_record(settings: Settings, key: bytes) -> Any:
    consumer, topic = consumer_of(settings), settings.topic(SCORES)
    try:
        partitions = partitions_of(consumer, topic)
        partition = partitions[partition_of(key, min(settings.partitions, len(partitions)))]
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        records = (record for _, record in read_until(consumer, consumer.end_offsets([partition])) if record.key == key)
        return max(records, key=lambda record: record.offset, default=None)
    except KafkaError as error:
        msg = f"reading {topic} failed: {error_text(error)}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
