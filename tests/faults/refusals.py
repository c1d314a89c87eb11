"""Workers that refuse to go on, and topics that are changed under them: deleted, cut, filled with other records.

Owns waiting for a refusal, reading it, running the command that it names, and the changes. Must not know what is
tested. Called by the tests of rows 25, 26 and 27.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, NewTopic
from kafka.errors import KafkaError

from agents.worker.fatal import EXIT_FATAL
from schemas.sources import BUILT_IN
from schemas.topics import all_topics
from tests.faults import topic_log
from tests.faults.deployment import GROUP, Deployment
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.faults.worker_process import WorkerProcess

CHANGELOG = f"{GROUP}-accounts-changelog"
PATIENCE_S = 120.0
Pair = tuple[bytes | None, bytes | None]


def refusal_of(deployment: Deployment, worker: WorkerProcess, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Wait until a worker has ended with 71, and return the log record that says why and what to do."""
    deployment.workers.remove(worker)
    status = worker.wait(patience_s)
    if status is None:
        worker.kill()
    assert status == EXIT_FATAL, f"ended with {status}\n{worker.last_words()}"
    lines = [line for line in worker.log_text().splitlines() if '"event": "fatal"' in line]
    refusal: dict[str, Any] = json.loads(lines[-1])
    assert refusal["way_out"], refusal
    assert "exception" not in refusal, "a refusal has no traceback"
    return refusal


def take_way_out(deployment: Deployment, refusal: Mapping[str, Any], *arguments: object) -> str:
    """Run the first command that a refusal names, once the group does not list the worker any more; return it."""
    named = re.search(r"`vitals (state [^`]+)`", refusal["way_out"])
    assert named, refusal["way_out"]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "agents", *named[1].split(), *map(str, arguments)],
            env=clean_environment(deployment.settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode == 0:
            return named[1]
        assert "stop all workers first" in done.stderr, done.stderr
        assert time.monotonic() < deadline, done.stderr


def configure(deployment: Deployment, topic: str, **settings: str) -> None:
    """Change settings of a topic; `_` in a name stands for `.`."""
    named = {name.replace("_", "."): value for name, value in settings.items()}
    with deployment.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("TOPIC", topic, named)])


def delete(deployment: Deployment, topic: str) -> None:
    """Delete a topic and wait until it is gone."""
    with deployment.kafka.admin() as admin:
        admin.delete_topics([topic])
        _until(lambda: topic not in admin.list_topics(), f"{topic} is gone")


def create(deployment: Deployment, topic: str, partitions: int = topic_log.PARTITIONS) -> None:
    """Create a topic of the product as the product does."""
    (wanted,) = (known for known in all_topics(GROUP, BUILT_IN) if known.name == topic)
    with deployment.kafka.admin() as admin:
        created = NewTopic(topic, num_partitions=partitions, replication_factor=1, topic_configs=wanted.config())

        def create_it() -> bool:
            with contextlib.suppress(KafkaError):
                admin.create_topics([created])
            return topic in admin.list_topics()

        _until(create_it, f"{topic} is created")


def add_partitions(deployment: Deployment, topics: Iterable[str], partitions: int) -> None:
    """Give topics more partitions."""
    with deployment.kafka.admin() as admin:
        admin.create_partitions(dict.fromkeys(topics, partitions))


def cut(deployment: Deployment, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition before an offset."""
    with deployment.kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, partition): before})


def records_of(deployment: Deployment, topic: str, partition: int) -> list[Pair]:
    """Every key and value of a partition, in order."""
    consumer = KafkaConsumer(bootstrap_servers=deployment.kafka.bootstrap, auto_offset_reset="earliest")
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        end, pairs = consumer.end_offsets([tp])[tp], []
        while consumer.position(tp) < end:
            for records in consumer.poll(timeout_ms=500).values():
                pairs += [(record.key, record.value) for record in records]
        return pairs
    finally:
        consumer.close()


def append(deployment: Deployment, topic: str, partition: int, pairs: Iterable[Pair]) -> int:
    """Write records to a partition; returns the offset of the last."""
    producer = KafkaProducer(bootstrap_servers=deployment.kafka.bootstrap, acks="all", max_request_size=20_000_000)
    try:
        sent = [producer.send(topic, key=key, value=value, partition=partition) for key, value in pairs]
        return max(int(future.get(timeout=60).offset) for future in sent)
    finally:
        producer.close()


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.2)
