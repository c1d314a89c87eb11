"""`vitals peers`: keeps `vitals-peers`, how the values of all accounts are spread, beside the workers.

Owns a consumer of `health.scores` without a group and a producer. It keeps no state of its own: on each start it reads
the compacted topic from the beginning, and the last table of every partition of `vitals-peers`. One process is enough,
and not more than one should run. Called by the command.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import msgspec
import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, places_of, producer_of, read_topic, read_until
from agents.settings.settings import Settings
from schemas.codecs import encode
from schemas.peers import PeersMessage, read_message, read_score
from schemas.topics import LARGEST_TABLE, PEERS, SCORES
from stream.consumers.peer_values import PeerValues
from stream.plan.plan import Plan

_POLL_MS = 500
_SEND_WITHIN_S = 30.0
_log = structlog.get_logger(__name__)


class PeersProcess:
    """Reads scores, writes tables, until it is asked to stop."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        """Connect. Raises `BrokerError`."""
        self._plan = plan
        self._stopping = False
        self._written = 0
        self._consumer = consumer_of(settings)
        self._producer = producer_of(settings, max_request_size=LARGEST_TABLE, compression_type="gzip")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records at hand."""
        self._stopping = True

    def run(self, *, once: bool) -> int:
        """Write the table that is due, then follow, or with `once` return; how many tables were written.

        Raises `BrokerError` when a topic lacks or the broker refuses.
        """
        try:
            known = self._known()
            book = PeerValues(self._plan, None if known is None else known.as_of)
            for place, record in read_topic(self._consumer, SCORES, lambda: self._stopping):
                self._take(book.load, place, record)
            self._emit(book.due())
            _log.info("peers", accounts=len(book), tables_as_of=known and known.as_of, written=self._written)
            while not (once or self._stopping):
                for place, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                    for record in records:
                        self._take(book.apply, place, record)
                self._emit(book.due())
        except KafkaError as error:
            msg = f"making tables of peers from {SCORES} failed: {type(error).__name__} {error}"
            raise BrokerError(msg) from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_SEND_WITHIN_S)
        return self._written

    def _known(self) -> PeersMessage | None:
        """The newest table there is of this policy; partitions that lack it get it: a process may have ended midway."""
        places = places_of(self._consumer, PEERS)
        first, ends = self._consumer.beginning_offsets(places), self._consumer.end_offsets(places)
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, max(first[place], ends[place] - 1))
        last: dict[TopicPartition, PeersMessage] = {}
        for place, record in read_until(self._consumer, ends, lambda: self._stopping):
            last[place] = read_message(record.value)
        newest = max(last.values(), key=lambda message: (message.as_of, message.id), default=None)
        if newest is None or newest.policy != self._plan.label:
            return None
        self._send(newest, [place for place in places if place not in last or last[place].id != newest.id])
        return newest

    @staticmethod
    def _take(into: Any, place: TopicPartition, record: Any) -> None:
        if record.key is not None:
            score = None if record.value is None else read_score(record.value)
            into(place.partition, record.key.decode(), score)

    def _emit(self, message: PeersMessage | None) -> None:
        if message is not None and not self._stopping:
            self._send(message, places_of(self._consumer, PEERS))
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
