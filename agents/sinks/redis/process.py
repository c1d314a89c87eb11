"""`vitals sink redis`: reads `health.scores` and writes it to Redis, with retries while Redis or Kafka is unavailable.

Owns the consumer (without a group: the offsets are kept in Redis with the records), the order of steps and the pauses.
It holds at most the records of one poll, and does not read while Redis is unavailable. Called by `agents.cli.sinks`.
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

from agents.kafka.client import BrokerError, consumer_of, partitions_of
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.process.metrics_server import metrics_server
from agents.settings.settings import Settings
from agents.sinks.redis.backlog import Backlog
from agents.sinks.redis.cache import Cache, CacheState, PositionLostError, connect
from agents.sinks.redis.fields import Write, write_of
from agents.sinks.redis.metrics import RedisTelemetry
from schemas.records import UnreadableError
from schemas.topics import SCORES

_POLL_MS = 200
_POLL_RECORDS = 1_000
_BROKER_TIMEOUT_MS = 5_000
_MARK_EVERY_S = 1.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_log = structlog.get_logger(__name__)


class RedisRefusedError(Exception):
    """Redis refuses the connection or the writes; only other settings can help."""


class RedisSink:
    """Keeps Redis up to date until it is asked to stop."""

    def __init__(self, settings: Settings, telemetry: RedisTelemetry) -> None:
        """Connect to Kafka; Redis may still be unavailable. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._settings = settings
        self._telemetry = telemetry
        self._stop = threading.Event()
        self._client = connect(settings)
        self._cache = Cache(self._client)
        self._has_connected = False
        self._pause_s = _SHORTEST_PAUSE_S
        self._selected: set[tuple[int, int]] = set()
        self._backlog_ends: dict[int, int] = {}
        self._consumer = consumer_of(settings)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records of the last poll."""
        self._stop.set()

    def run(self, *, once: bool) -> None:
        """Bring Redis up to date and follow the topic; with `once`, return when Redis is up to date.

        Raises `BrokerError` when the topic is missing, `RedisRefusedError` when Redis refuses the first connection.
        """
        try:
            self._partitions = self._assign()
            while not self._stop.is_set():
                try:
                    self._follow(once=once)
                except (RedisError, PositionLostError, KafkaError) as error:
                    self._failed(error)
                else:
                    return
                self._stop.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        finally:
            self._consumer.close()
            self._client.close()

    def _assign(self) -> list[TopicPartition]:
        try:
            partitions = partitions_of(self._consumer, self._settings.topic(SCORES))
        except KafkaError as error:
            msg = f"reading {self._settings.topic(SCORES)} failed: {error_text(error)}"
            raise BrokerError(msg) from error
        self._consumer.assign(partitions)
        return partitions

    # -- one connection to Redis: from reading the state of the cache to the next failure -----------------------------

    def _follow(self, *, once: bool) -> None:
        ends = self._ends()
        state = self._cache.read_state(ends)
        self._connected(state)
        self._seek(state)
        self._read_backlog(ends)
        self._seek(state)
        complete, next_mark_s = False, 0.0
        while not self._stop.is_set():
            polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
            for partition, records in polled.items():
                self._write(partition.partition, records)
            positions = {partition.partition: self._position(partition) for partition in self._partitions}
            if not polled:
                self._skip_compacted(positions)
            caught_up = all(positions[number] >= end for number, end in ends.items())
            if caught_up and not complete:
                # All selected records of the backlog are written.
                self._selected, self._backlog_ends = set(), {}
            if (caught_up and not complete) or time.monotonic() > next_mark_s:
                complete = caught_up
                self._cache.mark_alive(complete=complete)
                self._pause_s = _SHORTEST_PAUSE_S
                self._measure_lag(self._ends())
                next_mark_s = time.monotonic() + _MARK_EVERY_S
            if complete and once:
                return

    def _connected(self, state: CacheState) -> None:
        self._cache.mark_alive(complete=False)
        if not self._has_connected:
            self._warn_of_eviction()
        self._has_connected = True
        self._telemetry.connected.set(1)
        if state.rebuilt:
            self._telemetry.rebuilds.inc()
        _log.info("redis_ready", written=state.written, rebuilt=state.rebuilt)

    def _warn_of_eviction(self) -> None:
        try:
            may_evict = self._cache.may_evict()
        except NoPermissionError:
            return
        if may_evict:
            _log.warning(
                "redis_may_evict",
                risk="when Redis is full, accounts are missing without an error",
                do="set maxmemory-policy noeviction",
            )

    def _seek(self, state: CacheState) -> None:
        for partition in self._partitions:
            if partition.partition in state.written:
                self._consumer.seek(partition, state.written[partition.partition])
            else:
                self._consumer.seek_to_beginning(partition)

    def _read_backlog(self, ends: dict[int, int]) -> None:
        """Read up to `ends` without writing, to select the records worth writing."""
        backlog = Backlog()
        while not self._stop.is_set() and any(
            self._position(partition) < ends[partition.partition] for partition in self._partitions
        ):
            for partition, records in self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS).items():
                for record in records:
                    if record.offset < ends[partition.partition]:
                        backlog.read(partition.partition, record.offset, record.key, record.value)
        self._selected, self._backlog_ends = backlog.selected(), ends

    def _write(self, partition: int, records: Sequence[Any]) -> None:
        writes = list(self._writes_of(partition, records))
        for outcome, count in self._cache.write(partition, writes, records[-1].offset + 1).items():
            self._telemetry.records.labels(outcome).inc(count)

    def _writes_of(self, partition: int, records: Sequence[Any]) -> Iterator[Write]:
        """The writes for the records, without those of the backlog that are not selected."""
        count = self._telemetry.records.labels
        for record in records:
            in_backlog = record.offset < self._backlog_ends.get(partition, 0)
            if in_backlog and (partition, record.offset) not in self._selected:
                count("superseded").inc()
                continue
            try:
                yield write_of(record.key or b"", record.offset, record.value)
            except UnreadableError as error:
                count("rejected").inc()
                _log.warning("no_score_message", partition=partition, offset=record.offset, error=str(error))

    def _skip_compacted(self, positions: dict[int, int]) -> None:
        """Write the positions, so that offsets that compaction removed at the end of a partition are not lag."""
        for number, position in positions.items():
            if position > self._cache.written.get(number, 0):
                self._cache.write(number, (), position)

    # -- metrics and logs ---------------------------------------------------------------------------------------------

    def _ends(self) -> dict[int, int]:
        ends = self._consumer.end_offsets(self._partitions, _BROKER_TIMEOUT_MS)
        return {partition.partition: end for partition, end in ends.items()}

    def _position(self, partition: TopicPartition) -> int:
        position: int = self._consumer.position(partition, timeout_ms=_BROKER_TIMEOUT_MS)
        return position

    def _measure_lag(self, ends: dict[int, int]) -> None:
        for number, end in ends.items():
            self._telemetry.lag.labels(str(number)).set(max(0, end - self._cache.written.get(number, 0)))

    def _failed(self, error: RedisError | PositionLostError | KafkaError) -> None:
        """Log and count a failure. Raises `RedisRefusedError` when at start only other settings can help."""
        if isinstance(error, PositionLostError):
            _log.warning("redis_position_lost", then="read the state of the cache and continue from there")
            return
        problem = error_text(error)
        if isinstance(error, KafkaError):
            _log.warning("broker_failed", error=problem, then="retry", in_s=self._pause_s)
            return
        if not self._has_connected and is_final(error):
            msg = f"Redis at {self._settings.redis_url} refuses the connection: {error}; see docs/how-to/secure.md"
            raise RedisRefusedError(msg) from error
        self._telemetry.connected.set(0)
        kind = kind_of(error)
        self._telemetry.errors.labels(kind).inc()
        _log.warning("redis_failed", kind=kind, error=problem, then="retry", in_s=self._pause_s)
        with contextlib.suppress(KafkaError):
            self._measure_lag(self._ends())


def kind_of(error: RedisError) -> str:
    """The kind of a failure: away (no answer), slow (timeout), full (`maxmemory`), refused (any other error reply)."""
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):
        return "full"
    if isinstance(error, RedisTimeoutError):
        return "slow"
    return "refused" if isinstance(error, ResponseError | AuthenticationError) else "away"


def is_final(error: BaseException | None) -> bool:
    """Whether a retry cannot help: wrong password, missing permissions, bad certificates."""
    while error is not None:
        if isinstance(error, AuthenticationError | NoPermissionError | ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def run_redis_sink(settings: Settings, *, once: bool) -> None:
    """Run until SIGTERM or SIGINT, or once. Raises `BrokerError`, `RedisRefusedError`, `SettingsError`."""
    telemetry = RedisTelemetry()
    with metrics_server(telemetry.registry, settings.web_host, settings.redis_metrics_port, "redis_metrics_port"):
        require_rights(settings, "redis")
        sink = RedisSink(settings, telemetry)
        signal.signal(signal.SIGTERM, sink.stop)
        signal.signal(signal.SIGINT, sink.stop)
        sink.run(once=once)
