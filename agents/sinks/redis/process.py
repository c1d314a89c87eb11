"""`vitals sink redis`: reads `health.scores`, writes Redis, and outlives whatever happens to Redis.

Owns the consumer (without a group: how far it is written stands in Redis, beside what is written), the order of things
and the waiting. It holds no more records than one poll gives, and does not read while Redis is away. Called by the
command.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import msgspec
import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from agents.kafka.client import BrokerError, consumer_of, places_of
from agents.process.metrics_server import metrics_server
from agents.settings.settings import Settings
from agents.sinks.redis.backlog import Survey
from agents.sinks.redis.cache import Cache, LostError, Standing, connect
from agents.sinks.redis.fields import Write, write_of
from agents.sinks.redis.metrics import RedisTelemetry
from schemas.topics import SCORES

_POLL_MS = 200
_POLL_RECORDS = 1_000
_ANSWER_MS = 5_000
_PULSE_S = 1.0
_SHORTEST_S, _LONGEST_S = 0.1, 5.0
_log = structlog.get_logger(__name__)


class RedisRefusedError(Exception):
    """Redis can be reached and will never take our writes as the settings are."""


class RedisSink:
    """Keeps Redis up to date until it is asked to stop."""

    def __init__(self, settings: Settings, telemetry: RedisTelemetry) -> None:
        """Connect to Kafka; Redis may come later. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._settings = settings
        self._telemetry = telemetry
        self._stop = threading.Event()
        self._client = connect(settings)
        self._cache = Cache(self._client)
        self._met = False
        self._pause_s = _SHORTEST_S
        self._wanted: set[tuple[int, int]] = set()
        self._surveyed: dict[int, int] = {}
        self._consumer = consumer_of(settings)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records at hand."""
        self._stop.set()

    def run(self, *, once: bool) -> None:
        """Bring Redis up to date and follow; with `once`, end when it is.

        Raises `BrokerError` when the topic lacks, `RedisRefusedError` when Redis refuses us from the beginning.
        """
        try:
            self._places = self._assign()
            while not self._stop.is_set():
                try:
                    self._follow(once=once)
                except (RedisError, LostError, KafkaError) as error:
                    self._failed(error)
                else:
                    return
                self._stop.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _LONGEST_S)
        finally:
            self._consumer.close()
            self._client.close()

    def _assign(self) -> list[TopicPartition]:
        try:
            places = places_of(self._consumer, SCORES)
        except KafkaError as error:
            msg = f"reading {SCORES} failed: {type(error).__name__} {error}"
            raise BrokerError(msg) from error
        self._consumer.assign(places)
        return places

    # -- one life with Redis: from asking it how far it is, to its next failure ---------------------------------------

    def _follow(self, *, once: bool) -> None:
        ends = self._ends()
        standing = self._cache.stand(ends)
        self._welcome(standing)
        self._go_to(standing)
        self._survey(ends)
        self._go_to(standing)
        complete, pulse = False, 0.0
        while not self._stop.is_set():
            found = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
            for place, records in found.items():
                self._write(place.partition, records)
            positions = {place.partition: self._position(place) for place in self._places}
            if not found:
                self._skip(positions)
            arrived = all(positions[number] >= end for number, end in ends.items())
            if arrived and not complete:
                # No record of the backlog is read any more: what was worth writing of it is written.
                self._wanted, self._surveyed = set(), {}
            if (arrived and not complete) or time.monotonic() > pulse:
                complete = arrived
                self._cache.alive(complete=complete)
                self._pause_s = _SHORTEST_S
                self._measure(self._ends())
                pulse = time.monotonic() + _PULSE_S
            if complete and once:
                return

    def _welcome(self, standing: Standing) -> None:
        self._cache.alive(complete=False)
        if not self._met:
            self._warn_of_eviction()
        self._met = True
        self._telemetry.connected.set(1)
        if standing.rebuilt:
            self._telemetry.rebuilds.inc()
        _log.info("redis_ready", written=standing.written, rebuilt=standing.rebuilt)

    def _warn_of_eviction(self) -> None:
        try:
            evicts = self._cache.may_evict()
        except NoPermissionError:
            return
        if evicts:
            _log.warning(
                "redis_may_evict", then="accounts lack in silence when it is full; set maxmemory-policy noeviction"
            )

    def _go_to(self, standing: Standing) -> None:
        for place in self._places:
            if place.partition in standing.written:
                self._consumer.seek(place, standing.written[place.partition])
            else:
                self._consumer.seek_to_beginning(place)

    def _survey(self, ends: dict[int, int]) -> None:
        """Read what is behind once, to know which records are worth writing."""
        survey = Survey()
        while not self._stop.is_set() and any(self._position(place) < ends[place.partition] for place in self._places):
            for place, records in self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS).items():
                for record in records:
                    if record.offset < ends[place.partition]:
                        survey.read(place.partition, record.offset, record.key, record.value)
        self._wanted, self._surveyed = survey.wanted(), ends

    def _write(self, partition: int, records: Sequence[Any]) -> None:
        writes = list(self._worth(partition, records))
        for outcome, count in self._cache.write(partition, writes, records[-1].offset + 1).items():
            self._telemetry.records.labels(outcome).inc(count)

    def _worth(self, partition: int, records: Sequence[Any]) -> Iterator[Write]:
        count = self._telemetry.records.labels
        for record in records:
            if record.offset < self._surveyed.get(partition, 0) and (partition, record.offset) not in self._wanted:
                count("superseded").inc()
                continue
            try:
                yield write_of(record.key or b"", record.offset, record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError) as error:
                count("rejected").inc()
                _log.warning("no_score_message", partition=partition, offset=record.offset, error=str(error))

    def _skip(self, positions: dict[int, int]) -> None:
        """Note that what compaction has removed at the end of a partition is no backlog."""
        for number, position in positions.items():
            if position > self._cache.written.get(number, 0):
                self._cache.write(number, (), position)

    # -- what is said of it -------------------------------------------------------------------------------------------

    def _ends(self) -> dict[int, int]:
        return {place.partition: end for place, end in self._consumer.end_offsets(self._places, _ANSWER_MS).items()}

    def _position(self, place: TopicPartition) -> int:
        position: int = self._consumer.position(place, timeout_ms=_ANSWER_MS)
        return position

    def _measure(self, ends: dict[int, int]) -> None:
        for number, end in ends.items():
            self._telemetry.lag.labels(str(number)).set(max(0, end - self._cache.written.get(number, 0)))

    def _failed(self, error: RedisError | LostError | KafkaError) -> None:
        """Note what went wrong. Raises `RedisRefusedError` for what only other settings can mend, at the start."""
        if isinstance(error, LostError):
            _log.warning("redis_lost_its_place", then="ask it how far it is written, go on from there")
            return
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, KafkaError):
            _log.warning("broker_failed", error=told, then="retry", in_s=self._pause_s)
            return
        if not self._met and is_final(error):
            msg = f"Redis at {self._settings.redis_url} refuses: {error}; see docs/how-to/secure.md"
            raise RedisRefusedError(msg) from error
        self._telemetry.connected.set(0)
        kind = kind_of(error)
        self._telemetry.errors.labels(kind).inc()
        _log.warning("redis_failed", kind=kind, error=told, then="retry", in_s=self._pause_s)
        with contextlib.suppress(KafkaError):
            self._measure(self._ends())


def kind_of(error: RedisError) -> str:
    """A word for what is wrong with Redis: away, slow, full (`maxmemory`), refused (everything it answers)."""
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):
        return "full"
    if isinstance(error, RedisTimeoutError):
        return "slow"
    return "refused" if isinstance(error, ResponseError | AuthenticationError) else "away"


def is_final(error: BaseException | None) -> bool:
    """Whether only other settings can mend it: password, permissions, certificates."""
    while error is not None:
        if isinstance(error, AuthenticationError | NoPermissionError | ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def run_redis_sink(settings: Settings, *, once: bool) -> None:
    """Run until SIGTERM or SIGINT, or once. Raises `BrokerError`, `RedisRefusedError`, `SettingsError`."""
    telemetry = RedisTelemetry()
    with metrics_server(telemetry.registry, settings.web_host, settings.redis_metrics_port, "redis_metrics_port"):
        sink = RedisSink(settings, telemetry)
        signal.signal(signal.SIGTERM, sink.stop)
        signal.signal(signal.SIGINT, sink.stop)
        sink.run(once=once)
