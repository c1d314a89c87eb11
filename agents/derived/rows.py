"""`vitals rows`: publishes score changes as rows of tables, to `health.score-rows`.

Owns the consumer, the producer and what is written; the loop is `agents.kafka.relay`. After a crash rows can be written
again, with the same keys and content. The rows are made by `stream.consumers.score_rows`. Several processes share the
partitions. Called by `agents.cli.derived`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import structlog
from kafka.errors import KafkaError

from agents.derived.metrics import DerivedTelemetry
from agents.kafka.client import BrokerError, consumer_of, partitions_of, producer_of
from agents.kafka.relay import Relay
from agents.kafka.rights_check import require_rights
from agents.kafka.topics import ensure_topic
from agents.process.errors import error_text
from agents.process.metrics_server import Problems, metrics_server
from agents.settings.settings import Settings
from schemas.codecs import encode
from schemas.outputs import ScoreChange
from schemas.records import UnreadableError, read_message
from schemas.topics import CHANGES, SCORE_ROWS
from stream.consumers.score_rows import rows_of

_WITHIN_S = 30.0
_log = structlog.get_logger(__name__)


class RowWriter:
    """Writes the rows of changes until it is asked to stop."""

    def __init__(self, settings: Settings, telemetry: DerivedTelemetry) -> None:
        """Connect. Raises `BrokerError`."""
        self._telemetry, group = telemetry, f"{settings.group}-rows"
        self._consumer = consumer_of(settings, group_id=group)
        self.relay = Relay(self._consumer, group)
        self._changes, self._rows = settings.topic(CHANGES), settings.topic(SCORE_ROWS.name)
        self._producer = producer_of(settings, linger_ms=5)

    def run(self, *, once: bool) -> int:
        """Write rows until asked to stop, or with `once` up to the present end of the topic; returns how many.

        Raises `BrokerError` when the topic is missing or the broker fails.
        """
        try:
            ends = self._consumer.end_offsets(partitions_of(self._consumer, self._changes)) if once else None
            return self.relay.run([self._changes], self._write, ends=ends)
        except KafkaError as error:
            problem = error_text(error)
            raise BrokerError(f"writing {self._rows} from {self._changes} failed: {problem}") from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_WITHIN_S)

    def _write(self, records: Sequence[Any]) -> int:
        """Write the rows of records and wait until all replicas have them; returns how many."""
        sends = [
            self._producer.send(self._rows, key=record.key, value=value, timestamp_ms=record.timestamp)
            for record in records
            for value in self._values(record)
        ]
        for send in sends:
            send.get(timeout=_WITHIN_S)
            self.relay.stepped()
        if sends:
            self._telemetry.published_now(len(sends))
        if not records and self._consumer.assignment():
            self._telemetry.caught_up.set(1)
        return len(sends)

    def _values(self, record: Any) -> Iterator[bytes | None]:
        """The rows of a change as JSON; None, a tombstone, of a tombstone. An unreadable record is counted."""
        self._telemetry.read.inc()
        if record.value is None:
            yield None
            return
        try:
            change = read_message(ScoreChange, record.value)
        except UnreadableError as error:
            self._telemetry.unreadable.inc()
            position = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            _log.warning("record_unreadable", **position, reason=error.reason, error=str(error))
            return
        yield from map(encode, rows_of(change))


def run_rows(settings: Settings, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; unless once, serve metrics and health. Returns the rows written.

    Raises `BrokerError`, and `SettingsError` when the port of the metrics is in use.
    """
    telemetry = DerivedTelemetry("rows")
    connecting = ["the process connects to the broker"]
    writer: RowWriter | None = None
    health: dict[str, Problems] = {
        "/healthz": lambda: [] if writer is None else writer.relay.problems(),
        "/readyz": lambda: connecting if writer is None else writer.relay.problems(),
    }
    port = settings.rows_port
    with nullcontext() if once else metrics_server(telemetry.registry, settings.web_host, port, "rows_port", health):
        require_rights(settings, "rows")
        ensure_topic(settings, SCORE_ROWS)
        writer = RowWriter(settings, telemetry)
        signal.signal(signal.SIGTERM, writer.relay.stop)
        signal.signal(signal.SIGINT, writer.relay.stop)
        return writer.run(once=once)
