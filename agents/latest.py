"""Reading one account's latest score from `health.scores`.

Owns a one-off consumer without a group. Called by `vitals explain`.
"""

from __future__ import annotations

import logging

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents.processor import partition_of
from agents.settings import Settings
from agents.topics_admin import BrokerError
from schemas.outputs import ScoreMessage
from schemas.topics import SCORES

_POLL_MS = 1_000


def latest_score(settings: Settings, account: str) -> ScoreMessage | None:
    """The newest score message of an account, or None. Raises `BrokerError`."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    key = account.encode()
    try:
        consumer = KafkaConsumer(**settings.kafka_python(), enable_auto_commit=False, auto_offset_reset="earliest")
    except (KafkaError, OSError, ValueError) as error:
        msg = f"no Kafka broker at {', '.join(settings.bootstrap_servers())}: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    try:
        partitions = consumer.partitions_for_topic(SCORES)
        if not partitions:
            msg = f"the broker has no topic {SCORES}; run a worker first (`vitals worker`)"
            raise BrokerError(msg)
        place = TopicPartition(SCORES, partition_of(key, min(settings.partitions, len(partitions))))
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        newest = None
        while consumer.position(place) < end:
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    if record.key == key:
                        newest = record.value
        return msgspec.json.decode(newest, type=ScoreMessage) if newest else None
    except KafkaError as error:
        msg = f"reading {SCORES} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
