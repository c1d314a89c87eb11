"""Recognise records that are framed, wrapped or compressed by other systems, and say what to do about them.

Owns what each form looks like and its name. Reads only values that were refused as events, so it costs nothing for
events. Called by `schemas.codecs` for the messages of dead letters, and by `agents.files.replay` for lines of files.
"""

from __future__ import annotations

from typing import Any

import msgspec

ADVICE = "put a converter before the topic that writes each event alone, as JSON; this version has no input mapping"
_MAGIC = 0
_HEADER_BYTES = 5
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
    form = _framing(value) or _wrapping(value)
    return None if form is None else f"{form}: {ADVICE}"


def _framing(value: bytes) -> str | None:
    """The form of a value that does not begin as JSON."""
    for magic, name in _COMPRESSED.items():
        if value.startswith(magic):
            return f"the value is compressed with {name}, inside the record"
    if len(value) > _HEADER_BYTES and value[0] == _MAGIC:
        schema = int.from_bytes(value[1:_HEADER_BYTES], "big")
        return (
            f"the value has the header of a schema registry (magic byte 0, schema {schema}), "
            "as serializers of Avro, Protobuf and JSON Schema write it"
        )
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
    if content.get("type") in _SEGMENT_CALLS and _SEGMENT_KEYS & content.keys():
        return f"the value is a {content['type']} call of Segment; the event is in its properties"
    return None
