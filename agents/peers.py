"""`vitals peers`: keeps `vitals-peers`, how the values of all accounts are spread, beside the workers.

Owns a consumer of `health.scores` without a group and a producer. It keeps no state of its own: on each start it reads
the compacted topic from the beginning, and the last table of every partition of `vitals-peers`. One process is enough,
and not more than one should run. Called by the command.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any

import msgspec
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from agents.settings import Settings
from agents.topics_admin import BrokerError
from schemas.codecs import encode
from schemas.peers import PeersMessage, read_message, read_score
from schemas.topics import LARGEST_TABLE, PEERS, SCORES
from stream.peer_book import PeerBook
from stream.plan import Plan

_POLL_MS = 500
_SEND_WITHIN_S = 30.0
_log = structlog.get_logger(__name__)


class PeersProcess:
    """Reads scores, writes tables, until it is asked to stop."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        """Connect. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._plan = plan
        self._stopping = False
        self._written = 0
        try:
            self._consumer = KafkaConsumer(
                **settings.kafka_python(), enable_auto_commit=False, auto_offset_reset="earliest"
            )
            self._producer = KafkaProducer(
                **settings.kafka_python(), acks="all", max_request_size=LARGEST_TABLE, compression_type="gzip"
            )
        except (KafkaError, OSError, ValueError) as error:
            servers = ", ".join(settings.bootstrap_servers())
            msg = f"no Kafka broker at {servers}: {type(error).__name__} {error}"
            raise BrokerError(msg) from error

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records at hand."""
        self._stopping = True

    def run(self, *, once: bool) -> int:
        """Write the table that is due, then follow, or with `once` return; how many tables were written.

        Raises `BrokerError` when a topic lacks or the broker refuses.
        """
        try:
            known = self._known()
            book = PeerBook(self._plan, None if known is None else known.as_of)
            self._read_all(book)
            self._say(book.due())
            _log.info("peers", accounts=len(book), tables_as_of=known and known.as_of, written=self._written)
            while not (once or self._stopping):
                for place, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                    for record in records:
                        self._take(book.take, place, record)
                self._say(book.due())
        except KafkaError as error:
            msg = f"making tables of peers from {SCORES} failed: {type(error).__name__} {error}"
            raise BrokerError(msg) from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_SEND_WITHIN_S)
        return self._written

    def _places(self, topic: str) -> list[TopicPartition]:
        partitions = self._consumer.partitions_for_topic(topic)
        if not partitions:
            msg = f"the broker has no topic {topic}; create it with `vitals topics --create`"
            raise BrokerError(msg)
        return [TopicPartition(topic, number) for number in sorted(partitions)]

    def _known(self) -> PeersMessage | None:
        """The newest table there is of this policy; partitions that lack it get it: a process may have ended midway."""
        places = self._places(PEERS)
        first, ends = self._consumer.beginning_offsets(places), self._consumer.end_offsets(places)
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, max(first[place], ends[place] - 1))
        last: dict[TopicPartition, PeersMessage] = {}
        for place, record in self._until(ends):
            last[place] = read_message(record.value)
        newest = max(last.values(), key=lambda message: (message.as_of, message.id), default=None)
        if newest is None or newest.policy != self._plan.label:
            return None
        self._send(newest, [place for place in places if place not in last or last[place].id != newest.id])
        return newest

    def _read_all(self, book: PeerBook) -> None:
        """Read `health.scores` from its beginning to the end of now; the consumer goes on where this ends."""
        places = self._places(SCORES)
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)
        for place, record in self._until(self._consumer.end_offsets(places)):
            self._take(book.load, place, record)

    def _until(self, ends: dict[TopicPartition, int]) -> Iterable[tuple[TopicPartition, Any]]:
        while not self._stopping and any(self._consumer.position(place) < end for place, end in ends.items()):
            for place, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                for record in records:
                    yield place, record

    @staticmethod
    def _take(into: Any, place: TopicPartition, record: Any) -> None:
        if record.key is not None:
            score = None if record.value is None else read_score(record.value)
            into(place.partition, record.key.decode(), score)

    def _say(self, message: PeersMessage | None) -> None:
        if message is not None and not self._stopping:
            self._send(message, self._places(PEERS))
            self._written += 1
            _log.info("table", as_of=message.as_of, tables=len(message.tables), id=message.id)

    def _send(self, message: PeersMessage, places: list[TopicPartition]) -> None:
        value = encode(message)
        sent = [self._producer.send(PEERS, value=value, partition=place.partition) for place in places]
        for future in sent:
            future.get(timeout=_SEND_WITHIN_S)


def run_peers(settings: Settings, plan: Plan, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; returns how many tables were written. Raises `BrokerError`."""
    process = PeersProcess(settings, plan)
    signal.signal(signal.SIGTERM, process.stop)
    signal.signal(signal.SIGINT, process.stop)
    try:
        return process.run(once=once)
    except msgspec.DecodeError as error:
        msg = f"a record of {SCORES} or {PEERS} can not be read: {error}"
        raise BrokerError(msg) from error
