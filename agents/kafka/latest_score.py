"""Reading one account's latest score from `health.scores`.

Owns a one-off consumer without a group. Called by `vitals explain`.
"""

from __future__ import annotations

import msgspec
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, places_of, read_until
from agents.kafka.partitions import partition_of
from agents.settings.settings import Settings
from schemas.outputs import ScoreMessage
from schemas.topics import SCORES


def latest_score(settings: Settings, account: str) -> ScoreMessage | None:
    """The newest score message of an account, or None. Raises `BrokerError`."""
    key = account.encode()
    consumer = consumer_of(settings)
    try:
        places = places_of(consumer, SCORES)
        place = places[partition_of(key, min(settings.partitions, len(places)))]
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        newest = None
        for _, record in read_until(consumer, consumer.end_offsets([place])):
            if record.key == key:
                newest = record.value
        return msgspec.json.decode(newest, type=ScoreMessage) if newest else None
    except KafkaError as error:
        msg = f"reading {SCORES} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
