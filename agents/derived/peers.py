"""`vitals peers`: publishes peer tables, how the values of all accounts are distributed, to `vitals-peers`.

Owns which tables are published when; `stream.consumers.peer_values` decides when a table is due and computes it. Every
partition of the topic gets every table. Run one process, not more. Called by `agents.cli.derived`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition

from agents.derived.loop import Output, run_derivation
from agents.kafka.client import partitions_of, read_until
from agents.settings.settings import Settings
from schemas.codecs import encode
from schemas.peers import PeerScore, PeersMessage
from schemas.records import read_message
from schemas.topics import LARGEST_TABLE, PEERS
from stream.consumers.peer_values import PeerValues
from stream.plan.plan import Plan

_log = structlog.get_logger(__name__)


class PeersDerivation:
    """The values of all accounts, and how many tables were published."""

    topic = PEERS
    producer_options: dict[str, Any] = {  # noqa: RUF012 -- never written to
        "max_request_size": LARGEST_TABLE,
        "compression_type": "gzip",
    }

    def __init__(self, plan: Plan) -> None:
        """No account is known."""
        self._plan = plan
        self._values = PeerValues(plan, None)
        self._partitions: Callable[[], list[TopicPartition]] = list
        self.tables = 0

    def restore(self, consumer: KafkaConsumer, topic: str, stopping: Callable[[], bool]) -> Iterator[Output]:
        """Read the newest table; returns it for partitions without it, since a process may have ended midway."""
        self._partitions = lambda: partitions_of(consumer, topic)
        partitions = self._partitions()
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, max(begins[partition], ends[partition] - 1))
        latest = {
            partition: read_message(PeersMessage, record.value)
            for partition, record in read_until(consumer, ends, stopping)
        }
        newest = max(latest.values(), key=lambda message: (message.as_of, message.id), default=None)
        if newest is None or newest.policy != self._plan.label:
            return
        self._values = PeerValues(self._plan, newest.as_of)
        value = encode(newest)
        for partition in partitions:
            if partition not in latest or latest[partition].id != newest.id:
                yield Output(None, value, partition.partition)

    def load(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a record that was there at start."""
        self._values.load(partition, account, None if value is None else read_message(PeerScore, value))

    def loaded(self) -> Iterator[Output]:
        """The table of the last midnight, if the topic does not have it."""
        return self.changed()

    def apply(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a new record."""
        self._values.apply(partition, account, None if value is None else read_message(PeerScore, value))

    def changed(self) -> Iterator[Output]:
        """The table that is due, if any, for every partition."""
        message = self._values.due()
        if message is not None:
            self.tables += 1
            _log.info("table", as_of=message.as_of, tables=len(message.tables), id=message.id)
            value = encode(message)
            for partition in self._partitions():
                yield Output(None, value, partition.partition)


def run_peers(settings: Settings, plan: Plan, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; returns how many tables were published.

    Raises `BrokerError`, `SettingsError`.
    """
    derivation = PeersDerivation(plan)
    run_derivation(settings, derivation, "peers", once=once)
    return derivation.tables
