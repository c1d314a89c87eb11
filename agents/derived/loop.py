"""The loop of `vitals rollup` and `vitals peers`: reads `health.scores` from its start, keeps state, publishes changes.

Owns the consumer (without a group: the state is in memory and is rebuilt at each start), the producer, the order of
steps, and which records are ignored: those whose revision is lower than that of the account's record before, which
another partition can have after a repartition, and tombstones of such a partition. What is published is up to a
`Derivation`. Called by `agents.derived.rollup` and `agents.derived.peers`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from types import FrameType
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from agents.derived.metrics import DerivedTelemetry
from agents.kafka.client import BrokerError, consumer_of, producer_of, read_topic
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.process.metrics_server import Problems, metrics_server
from agents.settings.settings import Settings
from schemas.records import UnreadableError, read_key, read_message
from schemas.topics import SCORES

_POLL_MS = 500
_SEND_WITHIN_S = 30.0
STUCK_S = 120.0
"""Without a step of the loop for this long, the process should be restarted; the longest step waits for the broker."""
_log = structlog.get_logger(__name__)


class _Version(msgspec.Struct):
    revision: int


class Output(NamedTuple):
    """A record to publish; `value` None is a tombstone, `partition` None leaves the choice to the key."""

    key: bytes | None
    value: bytes | None
    partition: int | None = None


class Derivation(Protocol):
    """The state behind one derived topic. Values are JSON of `health.scores`, None is a deleted account.

    A method that reads a value raises `UnreadableError` before it changes anything.
    """

    topic: str
    """Without the prefix of a deployment."""
    producer_options: dict[str, Any]

    def restore(self, consumer: KafkaConsumer, topic: str, stopping: Callable[[], bool]) -> Iterable[Output]:
        """Read the derived topic, called `topic` in this deployment; returns records that are missing in it."""

    def load(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a record that `health.scores` holds at start."""

    def loaded(self) -> Iterable[Output]:
        """What to publish once all records that were there at start are applied."""

    def apply(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a new record."""

    def changed(self) -> Iterable[Output]:
        """What to publish now."""


class DerivationLoop:
    """Publishes one derived topic until it is asked to stop."""

    def __init__(self, settings: Settings, derivation: Derivation, telemetry: DerivedTelemetry) -> None:
        """Connect. Raises `BrokerError`."""
        self._derivation = derivation
        self._scores, self._derived = settings.topic(SCORES), settings.topic(derivation.topic)
        self._latest: dict[str, tuple[int, int]] = {}
        """Revision and partition of the record that counts of each account."""
        self._telemetry = telemetry
        self._stopping = False
        self._stepped_s, self._is_caught_up = time.monotonic(), False
        self._consumer = consumer_of(settings)
        self._producer = producer_of(settings, **derivation.producer_options)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records of the last poll."""
        self._stopping = True

    def problems(self) -> list[str]:
        """Why the process should be restarted."""
        idle_s = time.monotonic() - self._stepped_s
        return [f"the loop has not run for {idle_s:.0f} s"] if idle_s > STUCK_S else []

    def ready_problems(self) -> list[str]:
        """Why the derived topic is not up to date."""
        problems = self.problems()
        if not self._is_caught_up:
            problems.append(f"{self._scores} is still being read from the beginning")
        return problems

    def run(self, *, once: bool) -> int:
        """Bring the derived topic up to date, then follow, or with `once` return; how many records were published.

        Raises `BrokerError` when a topic is missing or the broker fails. An unreadable record is skipped and counted.
        """
        derived = self._derivation
        try:
            published = self._start()
            while not (once or self._is_stopping()):
                for partition, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                    for record in records:
                        self._process(derived.apply, partition.partition, record)
                published += self._publish(derived.changed())
        except (KafkaError, UnreadableError) as error:
            problem = error_text(error)
            raise BrokerError(f"deriving {self._derived} from {self._scores} failed: {problem}") from error
        finally:
            self._consumer.close()
            self._producer.close(timeout=_SEND_WITHIN_S)
        return published

    def _start(self) -> int:
        """Apply what the topics hold. If asked to stop before their end, the state is partial: nothing is published."""
        derived = self._derivation
        missing = list(derived.restore(self._consumer, self._derived, self._is_stopping))
        published = 0 if self._stopping else self._publish(missing)
        for partition, record in read_topic(self._consumer, self._scores, self._is_stopping):
            self._process(derived.load, partition.partition, record)
        if not self._stopping:
            published += self._publish(derived.loaded())
            self._is_caught_up = True
            self._telemetry.caught_up.set(1)
            _log.info("caught_up", topic=self._derived, published=published)
        return published

    def _is_stopping(self) -> bool:
        """Whether it was asked to end; called after each poll while topics are read."""
        self._stepped_s = time.monotonic()
        return self._stopping

    def _process(self, step: Callable[[int, str, bytes | None], None], partition: int, record: Any) -> None:
        self._telemetry.read.inc()
        if record.key is None:
            return
        try:
            account = read_key(record.key)
            revision = None if record.value is None else read_message(_Version, record.value).revision
            if self._is_older(account, revision, partition):
                self._telemetry.older.inc()
                return
            step(partition, account, record.value)
            if revision is None:
                self._latest.pop(account, None)
            else:
                self._latest[account] = revision, partition
        except UnreadableError as error:
            self._telemetry.unreadable.inc()
            position = {"topic": self._scores, "partition": partition, "offset": record.offset}
            _log.warning("record_unreadable", **position, reason=error.reason, error=str(error))

    def _is_older(self, account: str, revision: int | None, partition: int) -> bool:
        """Whether a record says nothing new. A tombstone deletes what its own partition has, not what another one has.

        An account that is erased gets one in every partition, since old partitions may have its scores.
        """
        latest = self._latest.get(account)
        if latest is None:
            return False
        return partition != latest[1] if revision is None else revision < latest[0]

    def _publish(self, outputs: Iterable[Output]) -> int:
        """Publish records and wait until all replicas have them; returns how many."""
        sends = [
            self._producer.send(self._derived, key=key, value=value, partition=partition)
            for key, value, partition in outputs
        ]
        for send in sends:
            send.get(timeout=_SEND_WITHIN_S)
            self._stepped_s = time.monotonic()
        if sends:
            self._telemetry.published_now(len(sends))
        return len(sends)


def run_derivation(settings: Settings, derivation: Derivation, name: str, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; unless once, serve metrics and health. Returns the published records.

    Raises `BrokerError`, and `SettingsError` when the port of the metrics is in use.
    """
    telemetry = DerivedTelemetry(name)
    setting = f"{name}_port"
    port: int = getattr(settings, setting)
    connecting = ["the process connects to the broker"]
    loop: DerivationLoop | None = None
    health: dict[str, Problems] = {
        "/healthz": lambda: [] if loop is None else loop.problems(),
        "/readyz": lambda: connecting if loop is None else loop.ready_problems(),
    }
    with nullcontext() if once else metrics_server(telemetry.registry, settings.web_host, port, setting, health):
        require_rights(settings, name)
        loop = DerivationLoop(settings, derivation, telemetry)
        signal.signal(signal.SIGTERM, loop.stop)
        signal.signal(signal.SIGINT, loop.stop)
        return loop.run(once=once)
