"""Recognise records that are framed, wrapped or compressed by other systems, and say what to do about them.

Owns what each form looks like and its name. Reads only values that were refused as events, so it costs nothing for
events. Called by `schemas.codecs` for the messages of dead letters, by `agents.files.inputs` for lines of files, and by
`stream.mapping.framing` for records that are mapped.
"""

from __future__ import annotations

from typing import Any

import msgspec

ADVICE = "map such records to events: --mapping for files, `vitals mapper` for topics"
HEADER_BYTES = 5
"""Bytes that a schema registry's serializers put in front of a value: the byte 0 and the number of the schema."""
_MAGIC = 0
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x82SNAPPY": "Snappy",
    b"\x04\x22\x4d\x18": "LZ4",
}
_SEGMENT_CALLS = {"track", "identify", "group", "page", "screen", "alias"}
_SEGMENT_KEYS = {"messageId", "anonymousId", "userId"}


def foreign_form(value: bytes) -> str | None:
    """What a value is that is not an event of ours, and what to do; None if it is in no known form."""
    framing = framing_of(value)
    if framing is not None and has_header(value):
        framing = f"{framing}, as serializers of Avro, Protobuf and JSON Schema write it"
    form = framing or _wrapping(value)
    return None if form is None else f"{form}: {ADVICE}"


def has_header(value: bytes) -> bool:
    """Whether a value begins as serializers of a schema registry write it."""
    return len(value) > HEADER_BYTES and value[0] == _MAGIC


def framing_of(value: bytes) -> str | None:
    """The form of a value that does not begin as JSON."""
    for magic, name in _COMPRESSED.items():
        if value.startswith(magic):
            return f"the value is compressed with {name}, inside the record"
    if has_header(value):
        schema = int.from_bytes(value[1:HEADER_BYTES], "big")
        return f"the value has the header of a schema registry (magic byte {_MAGIC}, schema {schema})"
    return None


def _wrapping(value: bytes) -> str | None:
    """The form of JSON that is not one event."""
    start = value.lstrip()[:1]
    if start == b"[":
        return "the value is a JSON array, and an event is one JSON object"
    if start not in {b"{", b'"'}:
        return None
    try:
        content = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(content, str):
        return "the value is a text that contains JSON" if content.lstrip()[:1] in {"{", "["} else None
    return _envelope(content) if isinstance(content, dict) else None


def _envelope(content: dict[str, Any]) -> str | None:
    if {"schema", "payload"} <= content.keys():
        return (
            "the value is the envelope of a Kafka Connect JsonConverter (schemas.enable=true); the event is its payload"
        )
    if "specversion" in content and "type" in content:
        return "the value is a CloudEvent; the event is its data"
    if "op" in content and {"before", "after"} & content.keys():
        return "the value is a change record of Debezium; the event is its field after"
    call = content.get("type")
    if isinstance(call, str) and call in _SEGMENT_CALLS and _SEGMENT_KEYS & content.keys():
        return f"the value is a {call} call of Segment; the event is in its properties"
    return None
