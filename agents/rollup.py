"""`vitals rollup`: keeps `health.rollups`, the scores of parent accounts, beside the workers.

Owns a consumer of `health.scores` without a group and a producer. It keeps no state of its own: on each start it reads
the compacted topic from the beginning, whatever partition a child lives in, says all parents anew, then follows. One
process is enough; several say the same. Called by the command.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable
from types import FrameType

import msgspec
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from agents.settings import Settings
from agents.topics_admin import BrokerError
from schemas.codecs import encode
from schemas.outputs import ScoreMessage
from schemas.topics import ROLLUPS, SCORES
from stream.rollup import Rollup

_POLL_MS = 500
_SEND_WITHIN_S = 30.0
_log = structlog.get_logger(__name__)


class RollupProcess:
    """Reads scores, says rollups, until it is asked to stop."""

    def __init__(self, settings: Settings) -> None:
        """Connect. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._rollup = Rollup()
        self._stopping = False
        self._decode = msgspec.json.Decoder(ScoreMessage).decode
        try:
            self._consumer = KafkaConsumer(
                **settings.kafka_python(), enable_auto_commit=False, auto_offset_reset="earliest"
            )
            self._producer = KafkaProducer(**settings.kafka_python(), acks="all", linger_ms=5)
        except (KafkaError, OSError, ValueError) as error:
            servers = ", ".join(settings.bootstrap_servers())
            msg = f"no Kafka broker at {servers}: {type(error).__name__} {error}"
            raise BrokerError(msg) from error

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records at hand."""
        self._stopping = True

    def run(self, *, once: bool) -> int:
        """Bring `health.rollups` up to date, then follow, or with `once` return; how many records were written.

        Raises `BrokerError` when a topic lacks or the broker refuses.
        """
        try:
            written = self._catch_up()
            _log.info("rolled up", parents=len(list(self._rollup.parents())), written=written)
            while not (once or self._stopping):
                written += self._say(self._take())
        except KafkaError as error:
            msg = f"rolling up {SCORES} failed: {type(error).__name__} {error}"
            raise BrokerError(msg) from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_SEND_WITHIN_S)
        return written

    def _catch_up(self) -> int:
        """Read to the end of now, then say every parent there is, and the end of those that are no parents any more."""
        known = {key.decode() for key, value in self._read_all(ROLLUPS).items() if value is not None}
        for key, value in self._read_all(SCORES).items():
            self._rollup.take(key.decode(), None if value is None else self._decode(value))
        return self._say({*known, *self._rollup.parents()})

    def _places(self, topic: str) -> list[TopicPartition]:
        partitions = self._consumer.partitions_for_topic(topic)
        if not partitions:
            msg = f"the broker has no topic {topic}; create it with `vitals topics --create`"
            raise BrokerError(msg)
        return [TopicPartition(topic, number) for number in sorted(partitions)]

    def _read_all(self, topic: str) -> dict[bytes, bytes | None]:
        """The latest of every key of a topic; the consumer goes on where this ends."""
        places = self._places(topic)
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)
        ends = self._consumer.end_offsets(places)
        latest: dict[bytes, bytes | None] = {}
        while not self._stopping and any(self._consumer.position(place) < ends[place] for place in places):
            for records in self._consumer.poll(timeout_ms=_POLL_MS).values():
                latest.update((record.key, record.value) for record in records if record.key is not None)
        return latest

    def _take(self) -> set[str]:
        changed: set[str] = set()
        for records in self._consumer.poll(timeout_ms=_POLL_MS).values():
            for record in records:
                if record.key is not None:
                    message = None if record.value is None else self._decode(record.value)
                    changed |= self._rollup.take(record.key.decode(), message)
        return changed

    def _say(self, parents: Iterable[str]) -> int:
        """Write the record of each parent, a tombstone where it has no children; returns how many."""
        sent = []
        for parent in sorted(parents):
            message = self._rollup.message_of(parent)
            value = None if message is None else encode(message)
            sent.append(self._producer.send(ROLLUPS, key=parent.encode(), value=value))
        for future in sent:
            future.get(timeout=_SEND_WITHIN_S)
        return len(sent)


def run_rollup(settings: Settings, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; returns how many records were written. Raises `BrokerError`."""
    process = RollupProcess(settings)
    signal.signal(signal.SIGTERM, process.stop)
    signal.signal(signal.SIGINT, process.stop)
    return process.run(once=once)
