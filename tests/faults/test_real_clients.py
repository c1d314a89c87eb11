"""Row 24: events of the producers that people use, each with the partitioner that it has by itself.

Three take the partition that Kafka's own client takes; the two on librdkafka take another one, and their records reach
their account through the repartition topic.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from tests.driving.producers.clients import CRC32, MURMUR2, write_lines
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS, SHORT, SURVEYS, TICKETS, USAGE, event
from tests.faults.topic_log import PARTITIONS, partition_of
from tests.faults.verdict import SCORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = [pytest.mark.broker, pytest.mark.faults]

CLIENTS = {**MURMUR2, **CRC32}
NAMES = ("acme", "müller & söhne", "Ångström AB", "東京", "Москва", "شركة", "🙂 GmbH", "a/b?c=d", "x" * 200, "e\u0301")
"""Among them letters of one to four bytes, and one in two code points."""


def events_of(client: str) -> Iterator[Message]:
    for index, name in enumerate(NAMES):
        account = f"{client} {name}"
        for number in range(index + 1):
            time_ms = END_MS - number * HOUR_MS
            yield event(USAGE, f"u{number}", account, time_ms, user_id=f"user {number}", feature="export")
        yield event(TICKETS, "t", account, END_MS, ticket_id="T", status="opened", priority="urgent")
        yield event(SURVEYS, "s", account, END_MS, kind="nps", score=index)


def test_events_of_all_clients_are_scored_alike(tmp_path: Path, fault: Callable) -> None:
    """Keys are the account ids; no client is told anything but the address of the broker."""
    with Deployment(tmp_path, policy=SHORT) as deployment:
        for client, send in CLIENTS.items():
            messages = [(each.topic, each.key.decode(), each.value.decode()) for each in events_of(client)]  # type: ignore[union-attr]
            send(deployment.kafka.bootstrap, write_lines(tmp_path / f"{client}.tsv", messages))
        worker = deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert deployment.stop(worker) == 0
        misplaced = 0
        for record in (each for topic in deployment.input_records().values() for each in topic):
            assert record.key is not None
            home, by_crc = partition_of(record.key), zlib.crc32(record.key) % PARTITIONS
            of_librdkafka = record.key.decode().partition(" ")[0] in CRC32
            assert record.partition == (by_crc if of_librdkafka else home), record
            misplaced += record.partition != home
        assert misplaced
        assert figures["forwarded"] == misplaced
        scores = topic_log.read(deployment.kafka.bootstrap, [SCORES])[SCORES]
        assert all(record.key is not None and record.partition == partition_of(record.key) for record in scores)
        by_account = {account: message["scores"]["health"]["value"] for account, message in deployment.scores().items()}
        for name in NAMES:
            assert len({by_account[f"{client} {name}"] for client in CLIENTS}) == 1, name
    fault("24 producers of other libraries", figures)
