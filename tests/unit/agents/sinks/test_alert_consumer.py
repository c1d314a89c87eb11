"""What the feed reads, hands over and commits: a made-up broker, a sink that does as it is told, time by hand."""

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
from agents.sinks import alert_consumer as feed
from agents.sinks.alert_consumer import COMMIT_ALL_S, Feed
from agents.sinks.metrics import SinkTelemetry
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
    """One topic, as a consumer of kafka-python shows it. A poll gives records of one partition, so many at most."""

    def __init__(self, logs: Sequence[Sequence[bytes | None]], begins: Sequence[int] = ()) -> None:
        self.logs = [list(log) for log in logs]
        self.begins = list(begins) or [0] * len(logs)
        self.offsets: dict[int, Position] = {}
        self.commits: list[dict[int, Position]] = []
        self.polls = 0
        self.given: list[tuple[int, int]] = []
        self.most = 10
        self.fails: KafkaError | None = None
        self.on_poll: Any = lambda: None
        self._at: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def at_its_end(self) -> bool:
        return all(at >= len(self.logs[place.partition]) for place, at in self._at.items())

    def partitions_for_topic(self, topic: str) -> set[int]:
        assert topic == ALERTS
        return set(range(len(self.logs)))

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = dict.fromkeys(places, 0)

    def assignment(self) -> set[TopicPartition]:
        return set(self._at)

    def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.begins[place.partition] for place in places}

    def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: len(self.logs[place.partition]) for place in places}

    def committed(self, place: TopicPartition, *, metadata: bool) -> SimpleNamespace | None:
        assert metadata
        at = self.offsets.get(place.partition)
        return None if at is None else SimpleNamespace(offset=at.offset, metadata=at.metadata)

    def seek_to_beginning(self, *places: TopicPartition) -> None:
        self._at |= self.beginning_offsets(list(places))

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._at[place] = offset

    def position(self, place: TopicPartition) -> int:
        return self._at[place]

    def pause(self, *places: TopicPartition) -> None:
        self._paused |= set(places)

    def resume(self, *places: TopicPartition) -> None:
        self._paused -= set(places)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        del timeout_ms
        self.polls += 1
        self.on_poll()
        if self.fails is not None:
            raise self.fails
        for place, at in self._at.items():
            log = self.logs[place.partition]
            if place not in self._paused and at < len(log):
                end = self._at[place] = min(len(log), at + self.most)
                self.given += [(place.partition, offset) for offset in range(at, end)]
                return {place: [Record(place.partition, offset, log[offset]) for offset in range(at, end)]}
        return {}

    def commit(self, offsets: dict[TopicPartition, Any], timeout_ms: int) -> None:
        del timeout_ms
        told = {place.partition: Position(at.offset, at.metadata) for place, at in offsets.items()}
        self.commits.append(told)
        self.offsets |= told

    def close(self) -> None:
        pass


class Taker:
    """A sink that takes all, and deals with it at once or never."""

    def __init__(self, *, deals: bool = True, keeps_refused: bool = False) -> None:
        self.deals, self.keeps_refused = deals, keeps_refused
        self.told: list[str] = []
        self.refused: list[tuple[int, str]] = []
        self.recalled: list[str] = []
        self._waiting: list[Any] = []

    def offer(self, news: Notification, record: Any) -> bool:
        self.told.append(news.alert.account_id)
        self._waiting.append(record)
        return True

    def refuse(self, record: Any, reason: str, message: str) -> bool:
        assert message
        self.refused.append((record.offset, reason))
        if self.keeps_refused:
            self._waiting.append(record)
        return self.keeps_refused

    def recall(self, news: Notification, stamp_ms: int) -> None:
        assert stamp_ms == 0
        self.recalled.append(news.alert.account_id)

    def step(self) -> list[Any]:
        done, self._waiting = (self._waiting, []) if self.deals else ([], self._waiting)
        return done

    def wait_s(self) -> float | None:
        return None

    def stop(self) -> list[Any]:
        return self.step()


class Stage:
    """A feed between the two, for so many rounds, each of which takes `round_s`."""

    def __init__(self, broker: Broker, sink: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.sink = broker, sink
        self.now_s = 1_000.0
        self.slept = 0
        self.telemetry = SinkTelemetry("webhook")
        monkeypatch.setattr(feed, "consumer_of", lambda *_, **__: broker)
        monkeypatch.setattr(feed, "time", SimpleNamespace(monotonic=lambda: self.now_s, sleep=self._sleep))
        level = logging.getLogger("kafka").level
        self.feed = Feed(load_settings(), "webhook", sink, self.telemetry)
        logging.getLogger("kafka").setLevel(level)

    def _sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now_s += seconds

    def run(self, until: Any = None, *, round_s: float = 0.5) -> None:
        """Until it holds, or all that the log has is read."""

        def on_poll() -> None:
            self.now_s += round_s
            if until() if until else self.broker.at_its_end():
                self.feed.stop()

        self.broker.on_poll = on_poll
        self.feed.run()

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


def test_a_start_that_fails_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is open would never be told: the end of the topic would be where the next start begins."""
    broker = Broker([[firing("a"), firing("b")]])
    broker.fails = KafkaConnectionError("gone")
    with pytest.raises(BrokerError, match="gone"):
        Stage(broker, Taker(), monkeypatch).run()
    assert broker.commits == []
    broker.fails = None
    again = Stage(broker, Taker(), monkeypatch)
    again.run()
    assert again.sink.told == ["a", "b"]


def test_a_start_that_is_asked_to_stop_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker([[firing("a"), firing("b")]])
    broker.most = 1
    Stage(broker, Taker(), monkeypatch).run(lambda: True)
    assert broker.commits == []


def test_all_offsets_are_told_again_every_hour_for_a_group_without_members_forgets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker([[firing("a")], []])
    stage = Stage(broker, Taker(), monkeypatch)
    stage.run(lambda: stage.now_s > 1_000 + 2.5 * COMMIT_ALL_S, round_s=600)
    assert len([told for told in broker.commits if set(told) == {0, 1}]) == 3
    assert broker.offsets == {0: Position(1, "1;"), 1: Position(0, "0;")}


def test_what_waited_and_was_removed_by_the_topic_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 0, 1 and 4, which waited, and 6 and 7, which were not read, all but the last are gone."""
    broker = Broker([[firing(str(at)) for at in range(9)]], begins=[7])
    broker.offsets = {0: Position(0, "6;0,1,3")}
    stage = Stage(broker, Taker(), monkeypatch)
    stage.run()
    assert (stage.sink.told, stage.given_up) == (["7", "8"], 4)
    assert broker.offsets == {0: Position(9, "9;")}


# What is read


def test_a_start_reads_on_only_where_it_has_some_way_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partition 0 gets more and more records while 1 is read; they are read when both are through, and once."""
    broker = Broker([[firing("a")], [firing(f"b{at}") for at in range(30)]])
    broker.offsets = {0: Position(1, "1;"), 1: Position(30, "30;")}
    broker.most = 5
    stage = Stage(broker, Taker(), monkeypatch)

    def growing() -> bool:
        if len(broker.logs[0]) < 12:
            broker.logs[0] += [firing(f"new{len(broker.logs[0]) + more}") for more in range(2)]
        return len(stage.sink.told) >= 12

    stage.run(growing)
    assert stage.sink.recalled == ["a", *(f"b{at}" for at in range(30))]
    assert stage.sink.told == [f"new{at}" for at in range(1, 13)]
    assert broker.offsets[0].offset == 13
    early = broker.given[: broker.given.index((1, 29))]
    assert len([offset for partition, offset in early if partition == 0]) <= broker.most


def test_no_more_is_read_while_enough_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 20)
    broker = Broker([[], []])
    broker.offsets = {0: Position(0, "0;"), 1: Position(0, "0;")}
    stage = Stage(broker, Taker(deals=False), monkeypatch)
    broker.logs[0] += [firing(str(at)) for at in range(100)]
    stage.run(lambda: broker.polls > 50)
    assert len(stage.sink.told) == 20


def test_a_broker_that_fails_at_once_is_asked_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of failures: pauses of 1, 2, 4, 8, 10, ... seconds, of which half is by chance."""
    broker = Broker([[]])
    stage = Stage(broker, Taker(), monkeypatch)

    def fails() -> bool:
        broker.fails = KafkaConnectionError("at once")
        return stage.now_s > 1_060

    stage.run(fails, round_s=0)
    assert broker.polls < 20
    assert stage.slept > 100


# Records that are no alerts

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
def test_a_record_that_is_no_alert_holds_up_none_and_is_refused_once(
    monkeypatch: pytest.MonkeyPatch, *, keeps: bool
) -> None:
    broker = Broker([[]])
    broker.offsets = {0: Position(0, "0;")}
    broker.logs[0] = [*(bad for bad, _ in BAD), firing("good")]
    stage = Stage(broker, Taker(keeps_refused=keeps), monkeypatch)
    stage.run()
    assert stage.sink.refused == list(enumerate(reason for _, reason in BAD))
    assert (stage.sink.told, stage.given_up) == (["good"], 0 if keeps else len(BAD))
    assert broker.offsets[0].offset == len(BAD) + 1
    again = Stage(broker, Taker(keeps_refused=keeps), monkeypatch)
    again.run()
    assert (again.sink.refused, again.given_up, again.sink.recalled) == ([], 0, ["good"])


def test_the_first_start_of_all_refuses_nothing_that_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Broker([[b"{", firing("open")]]), Taker(), monkeypatch)
    stage.run()
    assert (stage.sink.refused, stage.sink.told) == ([], ["open"])
