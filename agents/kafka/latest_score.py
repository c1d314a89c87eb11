"""Reads one account's latest score from `health.scores`, with a consumer without a group.

Called by `vitals explain`.
"""

from __future__ import annotations

import msgspec
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, partitions_of, read_until
from agents.kafka.partitions import partition_of
from agents.kafka.rights_check import require_rights
from agents.settings.settings import Settings
from schemas.outputs import ScoreMessage
from schemas.topics import SCORES


def latest_score(settings: Settings, account: str) -> ScoreMessage | None:
    """The newest score message of an account, or None. Raises `BrokerError`."""
    key = account.encode()
    require_rights(settings, "explain")
    consumer = consumer_of(settings)
    try:
        partitions = partitions_of(consumer, SCORES)
        partition = partitions[partition_of(key, min(settings.partitions, len(partitions)))]
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        newest = None
        for _, record in read_until(consumer, consumer.end_offsets([partition])):
            if record.key == key:
                newest = record.value
        return msgspec.json.decode(newest, type=ScoreMessage) if newest else None
    except KafkaError as error:
        msg = f"reading {SCORES} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
