"""`vitals mapper`: reads topics of other systems, and writes what a mapping makes of them to the input topics.

Owns the consumer, the producer and what is written; the loop is `agents.kafka.relay`. After a crash records are mapped
again, and a producer that gets no answer writes again; the events have the same ids and times, so workers drop them.
What becomes of a record is decided by `agents.mapper.records`. Called by `agents.cli.map`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import structlog
from kafka.errors import KafkaError

from agents.kafka.client import REFUSED, BrokerError, consumer_of, partitions_of, producer_of
from agents.kafka.relay import Relay, StoppedError
from agents.kafka.rights_check import require_rights
from agents.kafka.topics import ensure_topic
from agents.mapper.metrics import MapperTelemetry
from agents.mapper.records import Outcome, checked, draft_of, letter_of, polled_drafts, refused_by_broker, time_of
from agents.mapper.registry.client import Registry, RegistryUnavailableError
from agents.mapper.registry.decoding import Decoder
from agents.process.errors import error_text
from agents.process.metrics_server import Problems, metrics_server
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import LARGEST_RECORD, MAPPER_DLQ
from stream.mapping.apply import BoundMapping, source_of
from stream.mapping.binding import MappedEvent
from stream.mapping.rules import InputMapping

_MOST_AT_ONCE = 500
_WITHIN_S = 30.0
_TOPICS_PAUSE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _MOST_TRIES = 0.2, 10.0, 5
_SURELY_TAKEN = 500_000
"""Bytes of an event that fits half of what a topic takes by default."""
_log = structlog.get_logger(__name__)


class _Write(NamedTuple):
    """A record on its way to the broker: the event that it is, None for a dead letter, or why it cannot be sent."""

    event: MappedEvent | None
    sent: Any
    error: KafkaError | None = None


class Mapper:
    """Maps topics until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        mapping: InputMapping,
        topics: Sequence[str],
        sources: Sources,
        telemetry: MapperTelemetry,
    ) -> None:
        """Connect. Raises `BrokerError`, `SettingsError`."""
        self._decoder = None if settings.registry_url is None else Decoder(Registry(settings))
        self._registry_problem: str | None = None
        self._once = False
        self._mapping, self._sources, self._telemetry = mapping, sources, telemetry
        self._bound = BoundMapping(mapping, sources)
        self._topics, self._absent = list(topics), list[str]()
        group = f"{settings.group}-mapper"
        self._consumer = consumer_of(settings, group_id=group, max_poll_records=_MOST_AT_ONCE)
        self.relay = Relay(self._consumer, group, telemetry.progressed)
        # An idempotent producer is of no use any more once the broker has refused one of its records.
        self._producer = producer_of(
            settings,
            max_request_size=LARGEST_RECORD,
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            linger_ms=5,
        )

    def unready(self) -> list[str]:
        """Why it maps nothing now."""
        absent = ", ".join(self._absent)
        waiting = f"topics that do not exist yet, or on which this client has no right DESCRIBE: {absent}"
        registry = [] if self._registry_problem is None else [self._registry_problem]
        return [*self.relay.problems(), *([waiting] if absent else []), *registry]

    def run(self, *, once: bool) -> int:
        """Map until asked to stop, or with `once` up to the present end of the topics; returns the events written.

        Topics that do not exist yet are waited for, but not with `once`. Raises `BrokerError` when the broker fails.
        """
        self._once = once
        try:
            self._require_topics(once=once)
            return self.relay.run(self._topics, self._map, ends=self._ends() if once else None)
        except KafkaError as error:
            problem = error_text(error)
            raise BrokerError(f"mapping failed: {problem}") from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_WITHIN_S)

    def _require_topics(self, *, once: bool) -> None:
        """Wait until the topics exist that are read and written; the broker would create one with its own settings."""
        needed = {*self._topics, *self._targets()}
        while not self.relay.stopping:
            self.relay.stepped()
            self._absent = sorted(needed - self._consumer.topics())
            if not self._absent:
                return
            if once:
                raise BrokerError(*self.unready())
            _log.warning("waiting_for_topics", topics=self._absent)
            self.relay.pause(_TOPICS_PAUSE_S)

    def _targets(self) -> Iterator[str]:
        """The input topics that the rules write to."""
        for rule in self._mapping.rules:
            named = [rule.source] if rule.source else [source_of(topic, self._sources) for topic in self._topics]
            yield from (self._sources[name].topic for name in named if name is not None and not rule.skip)

    def _ends(self) -> dict[Any, int]:
        partitions = [partition for topic in self._topics for partition in partitions_of(self._consumer, topic)]
        return dict(self._consumer.end_offsets(partitions))

    def _map(self, records: Sequence[Any]) -> int:
        """Write what becomes of records, and wait until all replicas have it; returns the events written."""
        drafts = zip(records, polled_drafts(records, self._bound, self._decoder), strict=True)
        outcomes = checked([draft or self._draft(record) for record, draft in drafts], self._bound)
        started = [
            (record, outcome, self._start(record, outcome)) for record, outcome in zip(records, outcomes, strict=True)
        ]
        return sum(self._finish(record, outcome, writes) for record, outcome, writes in started)

    def _draft(self, record: Any) -> Outcome:
        """What a mapping makes of a record; waits for the schema registry, without which nothing is known of it.

        Raises `StoppedError` if asked to stop meanwhile, and with `once` `BrokerError` after some tries.
        """
        attempt = 0
        while True:
            self.relay.stepped()
            attempt += 1
            try:
                draft = draft_of(record, self._bound, self._decoder)
            except RegistryUnavailableError as error:
                self._registry_problem = str(error)
                if self.relay.stopping:
                    raise StoppedError from error
                if self._once and attempt >= _MOST_TRIES:
                    raise BrokerError(f"{error}; nothing of this and later records was written") from error
                pause_s = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
                _log.warning("registry_unavailable", error=str(error), will="retry", in_s=pause_s)
                self.relay.pause(pause_s)
            else:
                self._registry_problem = None
                return draft

    def _start(self, record: Any, outcome: Outcome) -> list[_Write]:
        """Begin to write the events of a record, or its dead letter.

        A large event is waited for before the others, so that a record whose event is too large gives none.
        """
        if outcome.message is not None:
            return [self._send(None, self._sources.own(MAPPER_DLQ.name), letter_of(record, outcome))]
        writes: list[_Write] = []
        time_ms = time_of(record)
        for event in sorted(outcome.events, key=_by_size):
            fields = {"key": event.account.encode(), "value": event.value, "timestamp_ms": time_ms}
            write = self._send(event, self._sources[event.source].topic, fields)
            writes.append(write)
            if len(outcome.events) > 1 and _by_size(event) and self._refusal(write) is not None:
                break
        return writes

    def _send(self, event: MappedEvent | None, topic: str, fields: dict[str, Any]) -> _Write:
        try:
            return _Write(event, self._producer.send(topic, **fields))
        except REFUSED as error:
            return _Write(event, None, error)

    def _finish(self, record: Any, outcome: Outcome, writes: Sequence[_Write]) -> int:
        """Wait for the writes of a record; what the broker does not take becomes a dead letter. Returns the events."""
        while refused := [(write, error) for write in writes if (error := self._refusal(write)) is not None]:
            write, error = refused[0]
            outcome = refused_by_broker(record, outcome, self._mapping, write.event, error)
            writes = self._start(record, outcome)
        self._telemetry.records.labels(record.topic, outcome.outcome).inc()
        for event in outcome.events:
            self._telemetry.events.labels(event.source).inc()
        if outcome.message is not None:
            position = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            _log.warning("dead_letter_written", **position, reason=outcome.outcome, message=outcome.message)
        return len(outcome.events)

    def _refusal(self, write: _Write) -> KafkaError | None:
        """Wait for a write; the error if the broker does not take this record. Raises other `KafkaError`s."""
        if write.sent is None:
            return write.error
        try:
            write.sent.get(timeout=_WITHIN_S)
        except REFUSED as error:
            return error
        self.relay.stepped()
        return None


def _by_size(event: MappedEvent) -> int:
    """Less than 0 for an event that a broker may find too large, the less the larger it is."""
    size = len(event.value or b"")
    return -size if size > _SURELY_TAKEN else 0


def run_mapper(
    settings: Settings, mapping: InputMapping, topics: Sequence[str], sources: Sources, *, once: bool
) -> int:
    """Run until SIGTERM or SIGINT, or once; unless once, serve metrics and health. Returns the events written.

    Raises `BrokerError`, and `SettingsError` when the port of the metrics is in use.
    """
    telemetry = MapperTelemetry()
    connecting = ["the process connects to the broker"]
    mapper: Mapper | None = None
    health: dict[str, Problems] = {
        "/healthz": lambda: [] if mapper is None else mapper.relay.problems(),
        "/readyz": lambda: connecting if mapper is None else mapper.unready(),
    }
    port = settings.mapper_port
    with nullcontext() if once else metrics_server(telemetry.registry, settings.web_host, port, "mapper_port", health):
        require_rights(settings, "mapper", sources=sources)
        ensure_topic(settings, MAPPER_DLQ)
        mapper = Mapper(settings, mapping, topics, sources, telemetry)
        signal.signal(signal.SIGTERM, mapper.relay.stop)
        signal.signal(signal.SIGINT, mapper.relay.stop)
        _log.info("mapping", topics=list(topics), mapping=mapping.file)
        return mapper.run(once=once)
