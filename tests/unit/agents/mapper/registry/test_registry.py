"""Values that the serializers of confluent-kafka write are read with the schemas of a registry, over real HTTP."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, StringSerializer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.timestamp_pb2 import Timestamp

from agents.mapper.registry.client import Registry, RegistryUnavailableError, UnknownSchemaError
from agents.mapper.registry.decoding import Decoder, UndecodableError, message_path
from agents.settings.settings import SettingsError, load_settings
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from tests.driving.mapping import outcome_of
from tests.driving.schema_registry import PASSWORD, USER, SchemaRegistry
from tests.unit.agents.mapper.test_records import Consumed

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE = SerializationContext("orders", MessageField.VALUE)
KEY = SerializationContext("orders", MessageField.KEY)
ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "lines", "type": {"type": "array", "items": ["null", "long"]}},
        {"name": "raw", "type": "bytes"},
    ],
}
AT = dt.datetime(2026, 3, 27, 11, 0, tzinfo=dt.UTC)
MAPPING = parse_mapping(
    '[[map]]\nname = "order"\nto = "billing"\n'
    'fields = { kind = { value = "invoice_paid" }, amount = "total", time = "at" }\n',
    "shop.toml",
)


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def decoder_of(registry: SchemaRegistry, **settings: Any) -> Decoder:
    return Decoder(Registry(load_settings(registry_url=registry.url, **settings)))


def avro_value(registry: SchemaRegistry) -> bytes:
    client = SchemaRegistryClient({"url": registry.url})
    content = {"customer": "Müller", "at": AT, "total": Decimal("12.50"), "lines": [1, None], "raw": b"\x00\xff"}
    value: bytes = AvroSerializer(client, json.dumps(ORDER))(content, VALUE)
    return value


def test_avro_becomes_what_json_would_be_and_the_schema_is_asked_for_once(registry: SchemaRegistry) -> None:
    value, decoder = avro_value(registry), decoder_of(registry)
    expected = {
        "customer": "Müller",
        "at": "2026-03-27T11:00:00+00:00",
        "total": 12.5,
        "lines": [1, None],
        "raw": "AP8=",
    }
    registry.asked.clear()
    assert [decoder(value), decoder(value)] == [expected, expected]
    assert registry.asked == ["/schemas/ids/1"]


def test_avro_that_looks_like_json_is_no_json(registry: SchemaRegistry) -> None:
    """The number 25 is the byte of the digit 2."""
    number = registry.add("n", {"schema": '"long"'})
    assert decoder_of(registry)(b"\x00" + number.to_bytes(4, "big") + b"2") == 25


def test_avro_with_references_to_other_subjects(registry: SchemaRegistry) -> None:
    money = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
    registry.add("of/money", {"schema": json.dumps(money)})
    bill = {"type": "record", "name": "Bill", "fields": [{"name": "sum", "type": "Money"}]}
    reference = {"name": "Money", "subject": "of/money", "version": 1}
    number = registry.add("bill", {"schema": json.dumps(bill), "references": [reference]})
    assert decoder_of(registry)(b"\x00" + number.to_bytes(4, "big") + b"\x08") == {"sum": {"cents": 4}}


def protobuf_class() -> Any:
    """A message type of a file that imports one of Google's; the second of two, with one inside."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.add(name="First")
    message = file.message_type.add(name="Order")
    inner = message.nested_type.add(name="Line")
    kinds = descriptor_pb2.FieldDescriptorProto
    inner.field.add(name="amount_cents", number=1, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="customer_id", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    message.field.add(
        name="at", number=2, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL, type_name=".google.protobuf.Timestamp"
    )
    message.field.add(
        name="lines", number=3, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED, type_name=".shop.Order.Line"
    )
    pool = descriptor_pool.Default()
    try:
        described = pool.FindFileByName("shop.proto")
    except KeyError:
        pool.Add(file)
        described = pool.FindFileByName("shop.proto")
    return message_factory.GetMessageClass(described.message_types_by_name["Order"])


def test_protobuf_of_confluents_serializer_with_an_import_and_the_second_message(registry: SchemaRegistry) -> None:
    made = protobuf_class()
    order = made(customer_id="acme", at=Timestamp(seconds=1_774_609_200))
    order.lines.add(amount_cents=2**53 + 1)
    client = SchemaRegistryClient({"url": registry.url})
    value = ProtobufSerializer(made, client, {"use.deprecated.format": False})(order, VALUE)
    assert decoder_of(registry)(value) == {
        "customer_id": "acme",
        "at": "2026-03-27T11:00:00Z",
        "lines": [{"amount_cents": str(2**53 + 1)}],
    }


def test_framed_json_needs_no_library(registry: SchemaRegistry) -> None:
    schema = Schema('{"type": "object", "title": "T"}', "JSON")
    serializer = JSONSerializer(schema, SchemaRegistryClient({"url": registry.url}))
    assert decoder_of(registry)(serializer({"a": 1}, VALUE)) == {"a": 1}


@pytest.mark.parametrize(("body", "expected"), [(b"\x00", [0]), (b"\x02\x02", [1]), (b"\x04\x02\x04x", [1, 2])])
def test_the_path_of_a_protobuf_message(body: bytes, expected: list[int]) -> None:
    assert message_path(body)[0] == expected


def test_a_record_is_mapped_by_its_schema_and_a_framed_key_is_its_account(registry: SchemaRegistry) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    key = AvroSerializer(client, '"string"')("acme", KEY)
    outcome = outcome_of(Consumed(avro_value(registry), key), MAPPING, BUILT_IN, decoder_of(registry))
    (event,) = outcome.events
    assert (event.source, event.account) == ("billing", "acme")
    assert json.loads(event.value or b"")["amount"] == 12.5
    plain_key = StringSerializer()("acme", KEY)
    assert outcome_of(Consumed(avro_value(registry), plain_key), MAPPING, BUILT_IN, decoder_of(registry)).events


def test_bytes_that_do_not_fit_and_schemas_that_are_not_there_are_dead_letters(registry: SchemaRegistry) -> None:
    decoder = decoder_of(registry)
    broken, unknown = avro_value(registry)[:7], b"\x00\x00\x00\x00\x63body"
    with pytest.raises(UndecodableError, match="schema 1 does not fit"):
        decoder(broken)
    with pytest.raises(UnknownSchemaError, match="/schemas/ids/99"):
        decoder(unknown)
    outcomes = [outcome_of(Consumed(value), MAPPING, BUILT_IN, decoder).outcome for value in (broken, unknown)]
    assert outcomes == ["undecodable", "unknown_schema"]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 302])
def test_a_registry_that_is_away_decides_nothing(registry: SchemaRegistry, status: int) -> None:
    """Neither does one that refuses, nor a proxy's 404, which has no code of a registry."""
    value, decoder = avro_value(registry), decoder_of(registry)
    registry.away = status
    with pytest.raises(RegistryUnavailableError, match=str(status)):
        outcome_of(Consumed(value), MAPPING, BUILT_IN, decoder)
    registry.away = None
    assert outcome_of(Consumed(value), MAPPING, BUILT_IN, decoder).events


def test_a_registry_that_does_not_listen() -> None:
    with SchemaRegistry() as registry:
        value, decoder = avro_value(registry), decoder_of(registry)
    with pytest.raises(RegistryUnavailableError, match="refused"):
        decoder(value)


def test_credentials_are_sent_and_needed() -> None:
    with SchemaRegistry() as open_registry:
        value = avro_value(open_registry)
        schemas = open_registry.schemas
    with SchemaRegistry(protected=True) as registry:
        registry.schemas = schemas
        with pytest.raises(RegistryUnavailableError, match="401 Unauthorized; check VITALS_REGISTRY_USERNAME"):
            decoder_of(registry)(value)
        decoder = decoder_of(registry, registry_username=USER, registry_password=PASSWORD)
        assert decoder(value)["customer"] == "Müller"


@pytest.mark.parametrize(
    "settings",
    [
        {"registry_url": "http://user:password@registry:8081"},
        {"registry_url": "registry:8081"},
        {"registry_url": "file:///etc/passwd"},
        {"registry_username": "u"},
        {"registry_password": "p"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="registry"):
        load_settings(**settings)
