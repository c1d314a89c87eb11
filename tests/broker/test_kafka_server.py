"""The broker that tests run is a real one: it serves, keeps its data through SIGKILL, and never outlives its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError

from tests.broker import jars
from tests.broker.child import ChildProcess
from tests.broker.kafka_server import TOPIC_MAX_MESSAGE_BYTES, KafkaServer, KafkaServerError

pytestmark = pytest.mark.broker
PATIENCE_S = 120

REPOSITORY = Path(__file__).resolve().parents[2]


def produce(server: KafkaServer, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=server.bootstrap, acks="all")
    sent = [producer.send(topic, key=value[:1], value=value) for value in values]
    for future in sent:
        future.get(timeout=PATIENCE_S)
    producer.close()


def consume(server: KafkaServer, topic: str, group: str, expected: int) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=server.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        consumer_timeout_ms=PATIENCE_S * 1000,
    )
    values: list[bytes] = []
    for record in consumer:
        values.append(record.value)
        if len(values) == expected:
            break
    consumer.close()
    return values


def test_creates_produces_and_consumes(kafka: KafkaServer, topic_prefix: str, group: str) -> None:
    topic = f"{topic_prefix}events"
    kafka.create_topics({topic: {"partitions": 3, "config": {"cleanup.policy": "compact"}}})
    values = [b"%d" % number for number in range(100)]
    produce(kafka, topic, values)
    assert sorted(consume(kafka, topic, group, len(values))) == sorted(values)
    with kafka.admin() as admin:
        described = admin.describe_topics([topic])[0]
    assert len(described["partitions"]) == 3
    assert kafka.log_bytes(topic) > sum(map(len, values))
    assert kafka.log_bytes(topic_prefix) == 0


def test_a_topic_is_not_created_twice(kafka: KafkaServer, topic_prefix: str) -> None:
    kafka.create_topics({f"{topic_prefix}once": {"partitions": 1}})
    with pytest.raises(TopicAlreadyExistsError):
        kafka.create_topics({f"{topic_prefix}once": {"partitions": 1}})


def test_record_size_is_the_topics_choice(kafka: KafkaServer, topic_prefix: str) -> None:
    small, large = f"{topic_prefix}small", f"{topic_prefix}large"
    kafka.create_topics(
        {
            small: {"partitions": 1},
            large: {"partitions": 1, "config": {"max.message.bytes": str(12 * TOPIC_MAX_MESSAGE_BYTES)}},
        }
    )
    record = b"x" * 10_000_000
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2 * len(record))
    producer.send(large, record).get(timeout=PATIENCE_S)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(small, record).get(timeout=PATIENCE_S)
    producer.close()


@pytest.mark.faults
def test_kill_and_restart_keep_what_was_acknowledged(tmp_path: Path) -> None:
    with KafkaServer(tmp_path / "kafka", heap_mb=512) as server:
        address, first_pid = server.bootstrap, server.pid
        server.create_topics({"kept": {"partitions": 2}})
        values = [b"%d" % number for number in range(1000)]
        produce(server, "kept", values)
        server.kill()
        with pytest.raises(KafkaServerError, match="not running"):
            server.suspend()
        server.restart()
        assert server.bootstrap == address
        assert server.pid != first_pid
        assert sorted(consume(server, "kept", "reader", len(values))) == sorted(values)
    assert (tmp_path / "kafka" / "data" / "kept-0").is_dir()


@pytest.mark.faults
def test_suspended_broker_serves_again_after_resume(tmp_path: Path) -> None:
    with KafkaServer(tmp_path / "kafka") as server:
        server.create_topics({"paused": {"partitions": 1}})
        server.suspend()
        state = Path(f"/proc/{server.pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        assert state == "T"
        server.resume()
        produce(server, "paused", [b"1"])
        assert consume(server, "paused", "reader", 1) == [b"1"]


def test_temporary_data_is_removed() -> None:
    with KafkaServer() as server:
        home, pid = server.home, server.pid
        assert home.is_dir()
    assert not home.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_bad_settings_fail_with_the_brokers_own_words(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, settings={"num.io.threads": "none"})
    with pytest.raises(KafkaServerError, match=r"num\.io\.threads"):
        server.start()


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(jars.MissingToolError, match="apt-get install maven"):
        jars.tool("mvn")


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_a_child_ends_with_its_parent(death: signal.Signals, tmp_path: Path) -> None:
    program = (
        # A shell that runs the tests in the background has Ctrl-C ignored, and that is inherited.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import pathlib, sys; from tests.broker.child import ChildProcess; "
        "child = ChildProcess(['sleep', '600'], log=pathlib.Path(sys.argv[1]) / 'log'); "
        "print(child.pid, flush=True); child.wait(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    watch = os.pidfd_open(child)
    parent.send_signal(death)
    parent.wait(timeout=PATIENCE_S)
    parent.stdout.close()
    # A pidfd turns readable when its process has ended.
    assert _readable_within(watch, PATIENCE_S)
    os.close(watch)


def test_a_child_that_ended_lets_its_guard_go(tmp_path: Path) -> None:
    child = ChildProcess(["sh", "-c", "echo text; exit 3"], log=tmp_path / "log")
    assert child.wait(30) == 3
    assert child.log_tail() == "text"
    child.kill()
    assert child.terminate(1) == 3


def _readable_within(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])
