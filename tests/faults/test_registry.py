"""`vitals mapper` with a real schema registry: Avro, Protobuf and JSON as Confluent's serializers write them.

The registry stands still for a while: records wait for it, none becomes a dead letter, and none is mapped twice.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.timestamp_pb2 import Timestamp

from schemas.topics import MAPPER_DLQ
from tests.broker.child import ChildProcess
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS
from tests.faults.registry.server import ApicurioRegistry
from tests.faults.worker_process import ROOT, clean_environment
from tests.unit.agents.mapper.registry.test_registry import ORDER, protobuf_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Figures

pytestmark = [pytest.mark.broker, pytest.mark.faults]

AVRO, PROTOBUF, JSON = "shop-avro", "shop-protobuf", "shop-json"
MAPPING = """
[[map]]
name = "bill"
from = ["shop-avro"]
to = "billing"
[map.fields]
account_id = "customer"
kind = { value = "invoice_paid" }
amount = "total"
time = "at"

[[map]]
name = "use"
from = ["shop-protobuf", "shop-json"]
to = "product-usage"
[map.fields]
account_id = "customer_id"
time = "at"
feature = { path = "what", default = "order" }
"""
EACH = 40


def moment(number: int) -> dt.datetime:
    return dt.datetime.fromtimestamp((END_MS - HOUR_MS) // 1000 + number, tz=dt.UTC)


def values(client: SchemaRegistryClient, numbers: range, more: str) -> Iterator[tuple[str, bytes]]:
    """Topic and value of records; `more` is the name of a field that makes other versions of the schemas."""
    order = {**ORDER, "fields": [*ORDER["fields"], {"name": more, "type": "string", "default": ""}]}
    avro = AvroSerializer(client, json.dumps(order))
    made = protobuf_class()
    protobuf = ProtobufSerializer(made, client, {"use.deprecated.format": False})
    schema = Schema(json.dumps({"type": "object", "title": "Click", "properties": {more: {"type": "string"}}}), "JSON")
    clicks = JSONSerializer(schema, client)
    for number in numbers:
        account = f"müller-{number % 7}"
        bill = {
            "customer": account,
            "at": moment(number),
            "total": Decimal("12.50"),
            "lines": [1, None],
            "raw": b"\xff",
        }
        yield AVRO, avro(bill, SerializationContext(AVRO, MessageField.VALUE))
        message = made(customer_id=account, at=Timestamp(seconds=int(moment(number).timestamp())))
        yield PROTOBUF, protobuf(message, SerializationContext(PROTOBUF, MessageField.VALUE))
        click = {"customer_id": account, "at": moment(number).isoformat(), "what": "search"}
        yield JSON, clicks(click, SerializationContext(JSON, MessageField.VALUE))


def events(deployment: Deployment) -> list[tuple[str, str, int]]:
    """What the mapper has written: what it is about, account and time, sorted."""
    records = deployment.read(["billing", "product-usage"])
    written = [json.loads(record.value or b"") for topic in records.values() for record in topic]
    return sorted(
        (event.get("feature") or f"{event['amount']}", event["account_id"], event["time"]) for event in written
    )


def test_values_of_a_registrys_serializers_are_mapped(tmp_path: Path, fault: Callable[[str, Figures], None]) -> None:
    mapping = tmp_path / "shop.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    topics = (AVRO, PROTOBUF, JSON)
    with (
        ApicurioRegistry(tmp_path) as registry,
        Deployment(tmp_path) as deployment,
        SchemaRegistryClient({"url": registry.url}) as client,
    ):
        deployment.kafka.create_topics({topic: {"partitions": 3} for topic in topics})
        mapper = ChildProcess(
            [sys.executable, "-m", "agents", "mapper", *topics, "--mapping", str(mapping)],
            log=tmp_path / "mapper.log",
            env=clean_environment(
                {
                    "broker": deployment.kafka.url,
                    "registry_url": registry.url,
                    "mapper_port": 0,
                    "partitions": topic_log.PARTITIONS,
                }
            ),
            cwd=ROOT,
        )
        try:
            sent = send(deployment, values(client, range(EACH), "note"))
            deployment.until(lambda: len(events(deployment)) >= sent, "the first records are mapped")
            later = list(values(client, range(EACH, 2 * EACH), "remark"))
            os.kill(registry.process.pid, signal.SIGSTOP)
            sent += send(deployment, iter(later))
            deployment.until(
                lambda: "registry_unavailable" in mapper.log.read_text("utf-8"), "the mapper waits for the registry"
            )
            os.kill(registry.process.pid, signal.SIGCONT)
            deployment.until(lambda: len(events(deployment)) >= sent, "all records are mapped")
        finally:
            status = mapper.terminate(30)
        written, letters = events(deployment), deployment.read([MAPPER_DLQ.name])[MAPPER_DLQ.name]
    expected = [
        (about, f"müller-{number % 7}", int(moment(number).timestamp() * 1000))
        for number in range(2 * EACH)
        for about in ("12.5", "order", "search")
    ]
    assert written == sorted(expected)
    assert (letters, status) == ([], 0)
    fault("10 values of a schema registry's serializers", {"records": sent, "events": len(written)})


def send(deployment: Deployment, records: Iterator[tuple[str, bytes]]) -> int:
    """Write records; returns how many."""
    messages = [
        topic_log.Message(topic, None, value, END_MS, partition=number % 3)
        for number, (topic, value) in enumerate(records)
    ]
    return deployment.send(messages)
