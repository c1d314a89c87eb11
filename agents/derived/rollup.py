"""`vitals rollup`: keeps `health.rollups`, the scores of parent accounts, beside the workers.

Owns a consumer of `health.scores` without a group and a producer. It keeps no state of its own: on each start it reads
the compacted topic from the beginning, whatever partition a child lives in, says all parents anew, then follows. One
process is enough; several say the same. Called by the command.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from types import FrameType

import msgspec
import structlog
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, producer_of, read_topic
from agents.settings.settings import Settings
from schemas.codecs import encode
from schemas.outputs import ScoreMessage
from schemas.topics import ROLLUPS, SCORES
from stream.consumers.rollup import Rollup

_POLL_MS = 500
_SEND_WITHIN_S = 30.0
_log = structlog.get_logger(__name__)


class RollupProcess:
    """Reads scores, says rollups, until it is asked to stop."""

    def __init__(self, settings: Settings) -> None:
        """Connect. Raises `BrokerError`."""
        self._rollup = Rollup()
        self._stopping = False
        self._decode = msgspec.json.Decoder(ScoreMessage).decode
        self._consumer = consumer_of(settings)
        self._producer = producer_of(settings, linger_ms=5)

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
                written += self._emit(self._take())
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
            self._rollup.apply(key.decode(), None if value is None else self._decode(value))
        return self._emit({*known, *self._rollup.parents()})

    def _read_all(self, topic: str) -> dict[bytes, bytes | None]:
        """The latest of every key of a topic; the consumer goes on where this ends."""
        records = read_topic(self._consumer, topic, lambda: self._stopping)
        return {record.key: record.value for _, record in records if record.key is not None}

    def _take(self) -> set[str]:
        changed: set[str] = set()
        for records in self._consumer.poll(timeout_ms=_POLL_MS).values():
            for record in records:
                if record.key is not None:
                    message = None if record.value is None else self._decode(record.value)
                    changed |= self._rollup.apply(record.key.decode(), message)
        return changed

    def _emit(self, parents: Iterable[str]) -> int:
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
