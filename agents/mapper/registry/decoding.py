"""Decodes values that a schema registry's serializers wrote: Avro, Protobuf and JSON, to what JSON would give.

Owns the framing behind the number of the schema, and what values that JSON does not have become: times are RFC 3339,
dates `2026-01-31`, decimals numbers, bytes base64; 64-bit integers of Protobuf are texts, as its own JSON has them.
fastavro and protobuf are the extras `avro` and `protobuf`. Called by `agents.mapper.records`.
"""

# ruff: noqa: PLC0415 -- the extras are imported by those who have records of the kind

from __future__ import annotations

import base64
import datetime as dt
import decimal
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

from agents.mapper.registry.client import Registry, Schema
from schemas.foreign_forms import HEADER_BYTES
from stream.mapping.framing import unwrap

_MORE = 0x80
"""The bit of a byte of a varint that says that another one follows."""
Decode = Callable[[bytes], Any]
"""From what is behind the number of the schema."""


class UndecodableError(ValueError):
    """A framed value that its schema does not fit, or a schema that is not understood; the message says why."""


class Decoder:
    """Decodes framed values with the schemas of a registry, each of which is asked for once.

    Raises `UndecodableError`, `UnmappedValueError`, `RegistryUnavailableError`, `UnknownSchemaError`.
    """

    def __init__(self, registry: Registry) -> None:
        """No schema is known."""
        self._registry = registry
        self._decoders: dict[int, Decode | None] = {}

    def __call__(self, value: bytes) -> Any:
        """The content of a value that has the header of a registry."""
        number = int.from_bytes(value[1:HEADER_BYTES], "big")
        if number not in self._decoders:
            self._decoders[number] = self._decoder(self._registry.by_id(number))
        decode = self._decoders[number]
        if decode is None:
            return unwrap(value)
        try:
            return decode(value[HEADER_BYTES:])
        except Exception as error:  # the libraries raise what the bytes make them stumble over
            msg = f"schema {number} does not fit the value: {type(error).__name__}: {error}"
            raise UndecodableError(msg) from error

    def _decoder(self, schema: Schema) -> Decode | None:
        """The decoder of a schema; None for JSON, which needs none."""
        makers = {"AVRO": self._avro, "PROTOBUF": self._protobuf}
        if schema.kind == "JSON":
            return None
        if schema.kind not in makers:
            raise UndecodableError(f"a schema of type {schema.kind}, which is none of AVRO, PROTOBUF and JSON")
        return makers[schema.kind](schema)

    def _avro(self, schema: Schema) -> Decode:
        import fastavro

        named: dict[str, Any] = {}
        for _, text in self._with_references(schema):
            parsed = fastavro.parse_schema(json.loads(text), named_schemas=named)
        return lambda body: plain(fastavro.schemaless_reader(io.BytesIO(body), parsed, None))

    def _protobuf(self, schema: Schema) -> Decode:
        from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

        pool = _pool_with_known_types(descriptor_pool.DescriptorPool())
        own = ""
        for name, text in self._with_references(schema):
            file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text))
            file.name = name or file.name or "schema.proto"
            pool.Add(file)
            own = file.name
        described = pool.FindFileByName(own)

        def decode(body: bytes) -> Any:
            path, start = message_path(body)
            message = list(described.message_types_by_name.values())[path[0]]
            for index in path[1:]:
                message = message.nested_types[index]
            content = message_factory.GetMessageClass(message).FromString(body[start:])
            return json_format.MessageToDict(content, preserving_proto_field_name=True, descriptor_pool=pool)

        return decode

    def _with_references(self, schema: Schema, name: str = "") -> list[tuple[str, str]]:
        """Names and texts of the schemas that a schema refers to, each after those that it refers to, and its own."""
        files: dict[str, str] = {}
        for reference in schema.references:
            files |= dict(self._with_references(self._registry.of(reference), reference.name))
        return [*files.items(), (name, schema.text)]


def _pool_with_known_types(pool: Any) -> Any:
    """A pool with the types of Google that schemas import without a reference."""
    from google.protobuf import (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    for module in (descriptor_pb2, any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool


def message_path(body: bytes) -> tuple[list[int], int]:
    """Which message of the schema a value is, as indexes from the outermost one inwards, and where it begins.

    The count and the indexes are zigzag varints; the path [0] is written as the count 0.
    """
    count, start = _varint(body, 0)
    path = []
    for _ in range(count):
        index, start = _varint(body, start)
        path.append(index)
    return path or [0], start


def _varint(body: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = body[start]
        number |= (byte & (_MORE - 1)) << shift
        start, shift = start + 1, shift + 7
        if byte < _MORE:
            return (number >> 1) ^ -(number & 1), start


def plain(value: Any) -> Any:
    """What JSON would have for a value of Avro."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value) if isinstance(value, uuid.UUID | dt.timedelta) else value
