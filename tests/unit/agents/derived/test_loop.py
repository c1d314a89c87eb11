"""The loop of `vitals rollup` and `vitals peers`, with a simulated broker: what is published when, and its metrics."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from agents.derived import loop as derived_loop
from agents.derived.loop import Derivation, DerivationLoop, run_derivation
from agents.derived.metrics import DerivedTelemetry
from agents.derived.peers import PeersDerivation
from agents.derived.rollup import RollupDerivation
from agents.kafka.client import BrokerError
from agents.settings.settings import SettingsError, load_settings
from schemas.codecs import encode
from schemas.outputs import ScoreMessage, ScoreValue
from schemas.peers import PeersMessage
from schemas.records import read_message
from schemas.topics import PEERS, ROLLUPS, SCORES
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.broker.kafka_server import free_port

DAY_MS = 86_400_000
MIDNIGHT_MS = 20_000 * DAY_MS
POLICY = """
name = "peers"

[measures.usage]
source = "product-usage"
stat = "count"
window = "30d"
compare = "peers"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = "neutral"

[scores.health]
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


class Broker:
    """Topics as lists of records by partition; the consumer and the producer of one loop. A poll returns one record."""

    def __init__(self) -> None:
        counts = {SCORES: 2, ROLLUPS: 1, PEERS: 2}
        self.logs: dict[TopicPartition, list[Record]] = {
            TopicPartition(topic, number): [] for topic, count in counts.items() for number in range(count)
        }
        self.polls = 0
        self.on_poll: Callable[[], None] = lambda: None
        self.fails = False
        self._positions: dict[TopicPartition, int] = {}

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0) -> None:
        log = self.logs[TopicPartition(topic, partition)]
        log.append(Record(len(log), key, value))

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {partition.partition for partition in self.logs if partition.topic == topic}

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition]) for partition in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self._positions |= dict.fromkeys(partitions, 0)

    def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        del timeout_ms
        self.polls += 1
        self.on_poll()
        if self.fails:
            raise KafkaConnectionError("no answer")
        for partition, position in self._positions.items():
            if position < len(self.logs[partition]):
                self._positions[partition] += 1
                return {partition: [self.logs[partition][position]]}
        return {}

    def send(self, topic: str, *, key: bytes | None, value: bytes | None, partition: int | None) -> SimpleNamespace:
        self.append(topic, key, value, partition or 0)
        return SimpleNamespace(get=lambda **_: None)

    def close(self, timeout: float | None = None) -> None:
        del timeout

    def idle(self) -> bool:
        return all(position >= len(self.logs[partition]) for partition, position in self._positions.items())

    def published(self, topic: str, partition: int = 0) -> list[tuple[bytes | None, bool]]:
        """Key of each record, and whether it has a value."""
        return [(record.key, record.value is not None) for record in self.logs[TopicPartition(topic, partition)]]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    simulated = Broker()
    monkeypatch.setattr(derived_loop, "require_rights", lambda *_: None)
    monkeypatch.setattr(derived_loop, "consumer_of", lambda *_, **__: simulated)
    monkeypatch.setattr(derived_loop, "producer_of", lambda *_, **__: simulated)
    return simulated


def score(account: str, parent: str | None, as_of: int = 1, usage: float = 1, revision: int = 1) -> bytes:
    values = {"health": ScoreValue(50.0, "fair", [])}
    message = ScoreMessage(account, as_of, revision, PLAN.label, None, values, parent_id=parent, raw={"usage": usage})
    return encode(message)


PLAN = compile_plan(parse_policy(POLICY))


def loop_of(derivation: Derivation) -> tuple[DerivationLoop, DerivedTelemetry]:
    telemetry = DerivedTelemetry("rollup")
    return DerivationLoop(load_settings(), derivation, telemetry), telemetry


def value_of(telemetry: DerivedTelemetry, name: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vitals_derived_{name}", {"process": "rollup"})


def test_once_publishes_every_parent_and_deletes_those_without_children(broker: Broker) -> None:
    broker.append(ROLLUPS, b"old", b"{}")
    broker.append(ROLLUPS, b"ended", b"{}")
    broker.append(ROLLUPS, b"ended", None)
    broker.append(SCORES, b"a", score("a", "group"))
    broker.append(SCORES, b"b", score("b", "left"), 1)
    broker.append(SCORES, b"b", score("b", "group"), 1)
    broker.append(SCORES, None, b"not a score")
    loop, telemetry = loop_of(RollupDerivation())
    assert loop.run(once=True) == 2
    assert broker.published(ROLLUPS)[3:] == [(b"group", True), (b"old", False)]
    assert (value_of(telemetry, "read_total"), value_of(telemetry, "published_total")) == (4, 2)
    assert value_of(telemetry, "caught_up") == 1
    assert (value_of(telemetry, "last_published_timestamp_seconds") or 0) > 0


def test_an_older_revision_from_another_partition_is_ignored_and_counted(broker: Broker) -> None:
    """After `vitals state repartition` the old partition still has records of accounts that have moved."""
    broker.append(SCORES, b"a", score("a", "group", revision=7))
    broker.append(SCORES, b"erased", score("erased", "group", revision=7))
    broker.append(SCORES, b"erased", None)
    broker.append(SCORES, b"a", score("a", "left", revision=3), 1)
    broker.append(SCORES, b"erased", score("erased", "again", revision=1), 1)
    broker.append(SCORES, b"a", score("a", "last", revision=7), 1)
    loop, telemetry = loop_of(RollupDerivation())
    assert loop.run(once=True) == 2
    assert broker.published(ROLLUPS) == [(b"again", True), (b"last", True)]
    assert (value_of(telemetry, "read_total"), value_of(telemetry, "older_total")) == (6, 1)


def test_a_tombstone_of_another_partition_is_ignored_and_counted(broker: Broker) -> None:
    """An erased account gets a tombstone in every partition; the account has come back meanwhile."""
    broker.append(SCORES, b"a", score("a", "group", revision=7))
    broker.append(SCORES, b"a", None, 1)
    loop, telemetry = loop_of(RollupDerivation())
    assert loop.run(once=True) == 1
    assert broker.published(ROLLUPS) == [(b"group", True)]
    assert value_of(telemetry, "older_total") == 1


def test_a_late_duplicate_changes_no_peer_table(broker: Broker) -> None:
    broker.append(SCORES, b"a", score("a", None, MIDNIGHT_MS + 2, usage=5, revision=9))
    broker.append(SCORES, b"a", score("a", None, MIDNIGHT_MS + 1, usage=1, revision=8), 1)
    loop, telemetry = loop_of(PeersDerivation(PLAN))
    loop.run(once=True)
    (record,) = broker.logs[TopicPartition(PEERS, 0)]
    assert record.value is not None
    assert read_message(PeersMessage, record.value).tables[0].values == [5]
    assert value_of(telemetry, "older_total") == 1


def test_following_publishes_the_parents_that_change(broker: Broker) -> None:
    broker.append(SCORES, b"a", score("a", "group"))
    broker.append(SCORES, b"b", score("b", "other"), 1)
    loop, telemetry = loop_of(RollupDerivation())

    def more() -> None:
        if value_of(telemetry, "caught_up") and len(broker.logs[TopicPartition(SCORES, 0)]) == 1:
            broker.append(SCORES, b"a", None)
        elif value_of(telemetry, "caught_up") and broker.idle():
            loop.stop()

    broker.on_poll = more
    assert loop.run(once=False) == 3
    assert broker.published(ROLLUPS) == [(b"group", True), (b"other", True), (b"group", False)]


@pytest.mark.parametrize("derivation", [RollupDerivation, lambda: PeersDerivation(PLAN)], ids=["rollup", "peers"])
def test_a_stop_before_the_end_of_the_topic_publishes_nothing(
    broker: Broker, derivation: Callable[[], Derivation]
) -> None:
    """A partial state would publish wrong records, and delete parents whose children are not read yet."""
    broker.append(ROLLUPS, b"group", b"{}")
    for number in range(5):
        broker.append(SCORES, b"%d" % number, score(str(number), "group", MIDNIGHT_MS + number))
    loop, telemetry = loop_of(derivation())
    broker.on_poll = lambda: loop.stop() if broker.polls == 3 else None
    assert loop.run(once=False) == 0
    assert (broker.published(ROLLUPS), broker.published(PEERS)) == ([(b"group", True)], [])
    assert value_of(telemetry, "caught_up") == 0


def test_a_peer_table_goes_to_every_partition_and_is_completed_after_a_crash(broker: Broker) -> None:
    for number, partition in enumerate((0, 1, 0, 1)):
        account = f"a{number}"
        broker.append(SCORES, account.encode(), score(account, None, MIDNIGHT_MS + 1 + number, number), partition)
    derivation = PeersDerivation(PLAN)
    loop, _ = loop_of(derivation)
    assert (loop.run(once=True), derivation.tables) == (2, 1)
    logs = [broker.logs[TopicPartition(PEERS, number)] for number in range(2)]
    assert [record.value for record in logs[0]] == [record.value for record in logs[1]]
    logs[1].clear()
    again = PeersDerivation(PLAN)
    loop, _ = loop_of(again)
    assert (loop.run(once=True), again.tables) == (1, 0)
    assert [record.value for record in logs[0]] == [record.value for record in logs[1]]


def test_a_failing_broker_is_reported(broker: Broker) -> None:
    broker.append(SCORES, b"a", None)
    broker.fails = True
    with pytest.raises(BrokerError, match="no answer"):
        loop_of(RollupDerivation())[0].run(once=True)


@pytest.mark.parametrize(("key", "value"), [(b"a", b"{"), (b"a", b'{"x":"\xff"}'), (b"\xff", b"{}"), (b"", b"{}")])
def test_an_unreadable_record_is_skipped_and_counted(broker: Broker, key: bytes, value: bytes) -> None:
    broker.append(SCORES, key, value)
    loop, telemetry = loop_of(RollupDerivation())
    loop.run(once=True)
    counts = {"process": "rollup"}
    assert telemetry.registry.get_sample_value("vitals_derived_unreadable_total", counts) == 1
    assert telemetry.registry.get_sample_value("vitals_derived_read_total", counts) == 1


@pytest.fixture
def _signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signal_handlers")
def test_metrics_are_served_until_a_signal_ends_it(broker: Broker) -> None:
    port = free_port()
    pages: list[str] = []
    broker.append(SCORES, b"a", score("a", "group"))
    unready: list[tuple[int, str]] = []

    def look() -> None:
        if not broker.idle():
            unready.append(status_of(port, "/readyz"))
            assert status_of(port, "/healthz") == (200, '{"ok": true, "problems": []}')
            return
        pages.append(status_of(port, "/metrics")[1])
        assert status_of(port, "/readyz") == (200, '{"ok": true, "problems": []}')
        signal.raise_signal(signal.SIGTERM)

    broker.on_poll = look
    assert run_derivation(load_settings(rollup_port=port), RollupDerivation(), "rollup", once=False) == 1
    assert 'vitals_derived_caught_up{process="rollup"} 1.0' in pages[0]
    assert unready[0][0] == 503
    assert "read from the beginning" in unready[0][1]


def status_of(port: int, path: str) -> tuple[int, str]:
    """Status and body of an answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request("GET", path)
    answer = client.getresponse()
    try:
        return answer.status, answer.read().decode()
    finally:
        client.close()


@pytest.mark.usefixtures("broker")
def test_a_loop_that_does_not_move_should_be_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, _ = loop_of(RollupDerivation())
    assert loop.problems() == []
    now_s = time.monotonic() + derived_loop.STUCK_S + 1
    monkeypatch.setattr("agents.derived.loop.time.monotonic", lambda: now_s)
    assert loop.problems() == ["the loop has not run for 121 s"]
    assert loop.ready_problems()[0] == "the loop has not run for 121 s"


@pytest.mark.usefixtures("broker", "_signal_handlers")
def test_a_used_port_is_named_and_once_needs_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        settings = load_settings(rollup_port=occupied.getsockname()[1])
        with pytest.raises(SettingsError, match="rollup_port"):
            run_derivation(settings, RollupDerivation(), "rollup", once=False)
        assert run_derivation(settings, RollupDerivation(), "rollup", once=True) == 0
