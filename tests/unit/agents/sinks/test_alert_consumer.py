"""What the alert consumer reads, offers and commits, with a simulated broker and sink and a manual clock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
import structlog
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError

from agents.kafka.client import BrokerError
from agents.settings.settings import load_settings
from agents.sinks import alert_consumer
from agents.sinks.alert_consumer import COMMIT_ALL_S, AlertConsumer
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.sink import Sink
from schemas.outputs import Alert
from schemas.topics import ALERTS
from stream.consumers.notifications import Notification
from stream.consumers.progress import Position


class Record(NamedTuple):
    partition: int
    offset: int
    value: bytes | None
    timestamp: int = 0


class Broker:
    """One topic, as a consumer of kafka-python shows it. A poll returns at most `most` records of one partition."""

    def __init__(self, logs: Sequence[Sequence[bytes | None]], begins: Sequence[int] = ()) -> None:
        self.logs = [list(log) for log in logs]
        self.begins = list(begins) or [0] * len(logs)
        self.offsets: dict[int, Position] = {}
        self.commits: list[dict[int, Position]] = []
        self.polls = 0
        self.returned: list[tuple[int, int]] = []
        self.most = 10
        self.fails: KafkaError | None = None
        self.on_poll: Any = lambda: None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def at_its_end(self) -> bool:
        return all(position >= len(self.logs[partition.partition]) for partition, position in self._positions.items())

    def partitions_for_topic(self, topic: str) -> set[int]:
        assert topic == ALERTS
        return set(range(len(self.logs)))

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self.begins[partition.partition] for partition in partitions}

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition.partition]) for partition in partitions}

    def committed(self, partition: TopicPartition, *, metadata: bool) -> SimpleNamespace | None:
        assert metadata
        committed = self.offsets.get(partition.partition)
        return None if committed is None else SimpleNamespace(offset=committed.offset, metadata=committed.metadata)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self._positions |= self.beginning_offsets(list(partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        del timeout_ms
        self.polls += 1
        self.on_poll()
        if self.fails is not None:
            raise self.fails
        for partition, start in self._positions.items():
            log = self.logs[partition.partition]
            if partition not in self._paused and start < len(log):
                end = self._positions[partition] = min(len(log), start + self.most)
                self.returned += [(partition.partition, offset) for offset in range(start, end)]
                return {partition: [Record(partition.partition, offset, log[offset]) for offset in range(start, end)]}
        return {}

    def commit(self, offsets: dict[TopicPartition, Any], timeout_ms: int) -> None:
        del timeout_ms
        positions = {
            partition.partition: Position(entry.offset, entry.metadata) for partition, entry in offsets.items()
        }
        self.commits.append(positions)
        self.offsets |= positions

    def close(self) -> None:
        pass


class TestSink(Sink):
    """A sink that accepts every notification, and finishes it at once or never."""

    __test__ = False

    def __init__(self, *, finishes: bool = True, keeps_rejected: bool = False) -> None:
        self.finishes, self.keeps_rejected = finishes, keeps_rejected
        self.offered: list[str] = []
        self.rejected: list[tuple[int, str]] = []
        self.restored: list[str] = []
        self._waiting: list[Any] = []

    def offer(self, notification: Notification, record: Any) -> bool:
        self.offered.append(notification.alert.account_id)
        self._waiting.append(record)
        return True

    def reject(self, record: Any, reason: str, message: str) -> bool:
        assert message
        self.rejected.append((record.offset, reason))
        if self.keeps_rejected:
            self._waiting.append(record)
        return self.keeps_rejected

    def restore(self, notification: Notification, written_ms: int) -> None:
        assert written_ms == 0
        self.restored.append(notification.alert.account_id)

    def step(self) -> list[Any]:
        finished, self._waiting = (self._waiting, []) if self.finishes else ([], self._waiting)
        return finished

    def wait_s(self) -> float | None:
        return None

    def stop(self) -> list[Any]:
        return self.step()


class Stage:
    """An alert consumer between the two; each round takes `round_s`."""

    def __init__(self, broker: Broker, sink: TestSink, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.sink = broker, sink
        self.now_s = 1_000.0
        self.slept = 0
        self.telemetry = SinkTelemetry("webhook")
        monkeypatch.setattr(alert_consumer, "consumer_of", lambda *_, **__: broker)
        monkeypatch.setattr(alert_consumer, "time", SimpleNamespace(monotonic=lambda: self.now_s, sleep=self._sleep))
        level = logging.getLogger("kafka").level
        self.consumer = AlertConsumer(load_settings(), "webhook", sink, self.telemetry)
        logging.getLogger("kafka").setLevel(level)

    def _sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now_s += seconds

    def run(self, until: Any = None, *, round_s: float = 0.5) -> None:
        """Run until the condition holds, or all records are read."""

        def on_poll() -> None:
            self.now_s += round_s
            if until() if until else self.broker.at_its_end():
                self.consumer.stop()

        self.broker.on_poll = on_poll
        self.consumer.run()

    @property
    def given_up(self) -> float:
        return float(self.telemetry.dead_letters._value.get())


def firing(account: str, **more: Any) -> bytes:
    alert = Alert(f"f-{account}", account, account, "low", "info", "firing", 1, None, None, account, {}, {})
    return msgspec.json.encode(msgspec.structs.replace(alert, **more))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with structlog.testing.capture_logs() as logs:
        yield logs


# What is committed


def test_a_failed_start_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise open alerts would never be delivered: the next start would begin at the end of the topic."""
    broker = Broker([[firing("a"), firing("b")]])
    broker.fails = KafkaConnectionError("gone")
    with pytest.raises(BrokerError, match="gone"):
        Stage(broker, TestSink(), monkeypatch).run()
    assert broker.commits == []
    broker.fails = None
    again = Stage(broker, TestSink(), monkeypatch)
    again.run()
    assert again.sink.offered == ["a", "b"]


def test_a_start_that_is_stopped_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker([[firing("a"), firing("b")]])
    broker.most = 1
    Stage(broker, TestSink(), monkeypatch).run(lambda: True)
    assert broker.commits == []


def test_all_offsets_are_committed_every_hour_because_kafka_deletes_those_of_idle_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker([[firing("a")], []])
    stage = Stage(broker, TestSink(), monkeypatch)
    stage.run(lambda: stage.now_s > 1_000 + 2.5 * COMMIT_ALL_S, round_s=600)
    assert len([positions for positions in broker.commits if set(positions) == {0, 1}]) == 3
    assert broker.offsets == {0: Position(1, "1;"), 1: Position(0, "0;")}


def test_unfinished_records_that_the_topic_has_deleted_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """0, 1 and 4 are unfinished, 6 and 7 not read yet; the topic has deleted all but 7."""
    broker = Broker([[firing(str(number)) for number in range(9)]], begins=[7])
    broker.offsets = {0: Position(0, "6;0,1,3")}
    stage = Stage(broker, TestSink(), monkeypatch)
    stage.run()
    assert (stage.sink.offered, stage.given_up) == (["7", "8"], 4)
    assert broker.offsets == {0: Position(9, "9;")}


# What is read


def test_a_start_reads_each_partition_only_up_to_the_position_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partition 0 gets records while 1 is read; they are read, once, when both are at their positions."""
    broker = Broker([[firing("a")], [firing(f"b{number}") for number in range(30)]])
    broker.offsets = {0: Position(1, "1;"), 1: Position(30, "30;")}
    broker.most = 5
    stage = Stage(broker, TestSink(), monkeypatch)

    def growing() -> bool:
        if len(broker.logs[0]) < 12:
            broker.logs[0] += [firing(f"new{len(broker.logs[0]) + more}") for more in range(2)]
        return len(stage.sink.offered) >= 12

    stage.run(growing)
    assert stage.sink.restored == ["a", *(f"b{number}" for number in range(30))]
    assert stage.sink.offered == [f"new{number}" for number in range(1, 13)]
    assert broker.offsets[0].offset == 13
    early = broker.returned[: broker.returned.index((1, 29))]
    assert len([offset for partition, offset in early if partition == 0]) <= broker.most


def test_reading_pauses_while_too_many_records_are_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_consumer, "MOST_UNFINISHED", 20)
    broker = Broker([[], []])
    broker.offsets = {0: Position(0, "0;"), 1: Position(0, "0;")}
    stage = Stage(broker, TestSink(finishes=False), monkeypatch)
    broker.logs[0] += [firing(str(number)) for number in range(100)]
    stage.run(lambda: broker.polls > 50)
    assert len(stage.sink.offered) == 20


def test_reading_a_broken_broker_pauses_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of failures: pauses of 1, 2, 4, 8, 10, ... seconds, of which half is jitter."""
    broker = Broker([[]])
    stage = Stage(broker, TestSink(), monkeypatch)

    def fails() -> bool:
        broker.fails = KafkaConnectionError("at once")
        return stage.now_s > 1_060

    stage.run(fails, round_s=0)
    assert broker.polls < 20
    assert stage.slept > 100


# Unreadable records

BAD = [
    (None, "null_value"),
    (b'{"id": "\xff"}', "bad_utf8"),
    (b"{", "malformed_json"),
    (b"{}", "invalid_field"),
    (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    (firing("x", id="f-é"), "invalid_field"),
    (firing("x", id="f\r\nX-Evil: 1"), "invalid_field"),
    (firing("x", starts_at=253_402_300_800_000), "implausible_time"),
    (firing("x", ends_at=10**18), "implausible_time"),
    (firing("x", snoozed_until=-(10**15)), "implausible_time"),
    (firing("x", acknowledged_at=2**62), "implausible_time"),
]


@pytest.mark.parametrize("keeps", [False, True])
def test_an_unreadable_record_blocks_no_other_and_is_rejected_once(
    monkeypatch: pytest.MonkeyPatch, *, keeps: bool
) -> None:
    broker = Broker([[]])
    broker.offsets = {0: Position(0, "0;")}
    broker.logs[0] = [*(bad for bad, _ in BAD), firing("good")]
    stage = Stage(broker, TestSink(keeps_rejected=keeps), monkeypatch)
    stage.run()
    assert stage.sink.rejected == list(enumerate(reason for _, reason in BAD))
    assert (stage.sink.offered, stage.given_up) == (["good"], 0 if keeps else len(BAD))
    assert broker.offsets[0].offset == len(BAD) + 1
    again = Stage(broker, TestSink(keeps_rejected=keeps), monkeypatch)
    again.run()
    assert (again.sink.rejected, again.given_up, again.sink.restored) == ([], 0, ["good"])


def test_the_first_start_of_a_group_rejects_no_older_record(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Broker([[b"{", firing("open")]]), TestSink(), monkeypatch)
    stage.run()
    assert (stage.sink.rejected, stage.sink.offered) == ([], ["open"])
